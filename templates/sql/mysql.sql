-- {{ connection.name }}: as root, or whoever may make users and routines.
CREATE USER IF NOT EXISTS '{{ connection.admin }}'@'%';
GRANT CREATE USER, PROCESS, SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES, CREATE VIEW, SHOW VIEW
    ON *.* TO '{{ connection.admin }}'@'%' WITH GRANT OPTION;
-- DROP USER leaves the user's sessions. This ends them; it runs as whoever made it, who must stay.
-- dbt's views belong to the leased user by `DEFINER`, and no longer work once it has gone: let dbt make tables, or views with SQL SECURITY INVOKER
-- (docs/generate.md), or lend a static role.
CREATE DATABASE IF NOT EXISTS dbt_lease;
DROP PROCEDURE IF EXISTS dbt_lease.end_sessions;
DELIMITER //
CREATE PROCEDURE dbt_lease.end_sessions(IN of_user VARCHAR(128)) SQL SECURITY DEFINER
BEGIN
    DECLARE session_id BIGINT;
    DECLARE is_done INT DEFAULT 0;
    DECLARE sessions CURSOR FOR SELECT id FROM information_schema.processlist WHERE user = of_user;
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET is_done = 1;
    -- A session that has ended by itself meanwhile.
    DECLARE CONTINUE HANDLER FOR 1094 BEGIN END;
    OPEN sessions;
    each_session: LOOP
        FETCH sessions INTO session_id;
        IF is_done THEN LEAVE each_session; END IF;
        KILL session_id;
    END LOOP;
    CLOSE sessions;
END//
DELIMITER ;
GRANT EXECUTE ON PROCEDURE dbt_lease.end_sessions TO '{{ connection.admin }}'@'%';
