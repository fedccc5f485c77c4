//! `--verify login`: whether a credential logs in, tried once before its lease is revoked and once after.
//!
//! The first attempt makes the second one a proof: what was let in a moment ago and is refused now has been ended. How a login is tried is
//! known for PostgreSQL alone; of any other database it is said that nothing was verified.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::postgres::{self, Outcome, Sslmode};
use crate::dbt::jinja::Value as Rendered;
use crate::dbt::yaml::Value;
use crate::dbt::{Profile, Rendering};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::fields::Field;
use crate::vault::lease::LeaseId;
use crate::vault::secret::Lent;
use crate::vault::take_back::{Outcome as Found, Verified, Way};

/// How long one attempt may take.
const WITHIN: Duration = Duration::from_secs(5);
/// What libpq obeys besides what the output says: with one of these it is not known where dbt logs in.
const LEADS_ELSEWHERE: [&str; 3] = ["PGHOSTADDR", "PGSERVICE", "PGSSLNEGOTIATION"];

/// The logins to try, by their leases.
#[derive(Clone, Debug, Default)]
pub struct Logins(Vec<(LeaseId, Result<postgres::Login, String>)>);

/// How the first attempts ended.
#[derive(Debug)]
pub struct Before(BTreeMap<String, Result<(), String>>);

impl Logins {
    /// Adds every leased secret with a user name and a password, at the place to which its output leads.
    pub fn add(
        &mut self,
        profile: &Profile,
        rendering: &Rendering<'_>,
        variables: &Variables,
        lent: &[Lent],
    ) {
        let place = place(profile, rendering, variables);
        for secret in lent {
            let Some(lease) = &secret.lease else { continue };
            let text = |names: &[&str]| {
                names.iter().find_map(|name| match secret.fields.get(name) {
                    Some(Field::Text(text)) => Some(text.clone()),
                    _ => None,
                })
            };
            let login = match (&place, text(&["username", "user"]), text(&["password"])) {
                (Err(why), _, _) => Err(why.clone()),
                (Ok(place), Some(user), Some(password)) => Ok(place.login(&user, password)),
                (Ok(_), _, _) => Err("the secret has no user name with a password".to_owned()),
            };
            self.0.push((lease.id.clone(), login));
        }
    }

    /// The first attempts, while the leases live. Blocks.
    pub fn before(&self) -> Before {
        let tried = self.0.iter().map(|(lease, login)| {
            let outcome = match login {
                Err(why) => Err(why.clone()),
                Ok(login) => match postgres::attempt(login, WITHIN) {
                    Outcome::In => Ok(()),
                    Outcome::Refused(code) => Err(format!(
                        "the database refused the login (SQLSTATE {code}) before anything was revoked, so that a refusal proves nothing"
                    )),
                    Outcome::Unknown(why) => Err(why),
                },
            };
            (lease.expose().to_owned(), outcome)
        });
        Before(tried.collect())
    }

    /// The second attempts, and what both say of each lease. Blocks.
    pub fn after(&self, before: &Before) -> Vec<(LeaseId, Verified)> {
        let tried = self.0.iter().map(|(lease, login)| {
            let first = before
                .0
                .get(lease.expose())
                .cloned()
                .unwrap_or_else(|| Err("it was not tried before the revocation".to_owned()));
            let outcome = match (login.clone(), first) {
                (Err(why), _) | (_, Err(why)) => Found::NotKnown(why),
                (Ok(login), Ok(())) => match postgres::attempt(&login, WITHIN) {
                    Outcome::In => Found::StillThere("the credential still logs in to the database".to_owned()),
                    Outcome::Refused(code) => Found::Gone(format!(
                        "the database refuses the login (SQLSTATE {code}) that it let in before the revocation"
                    )),
                    Outcome::Unknown(why) => Found::NotKnown(why),
                },
            };
            let verified = Verified {
                way: Way::Login,
                outcome,
            };
            (lease.clone(), verified)
        });
        tried.collect()
    }

    /// What is said of each lease where no attempt was made.
    pub fn untried(&self, why: &str) -> Vec<(LeaseId, Verified)> {
        let said = |(lease, _): &(LeaseId, _)| {
            let verified = Verified {
                way: Way::Login,
                outcome: Found::NotKnown(why.to_owned()),
            };
            (lease.clone(), verified)
        };
        self.0.iter().map(said).collect()
    }
}

/// Where an output leads.
#[derive(Clone, Debug)]
struct Place {
    host: String,
    port: u16,
    database: String,
    sslmode: Sslmode,
    sslrootcert: Option<PathBuf>,
}

impl Place {
    fn login(&self, user: &Secret, password: Secret) -> postgres::Login {
        postgres::Login {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: user.expose().to_owned(),
            password,
            sslmode: self.sslmode,
            sslrootcert: self.sslrootcert.clone(),
        }
    }
}

fn place(
    profile: &Profile,
    rendering: &Rendering<'_>,
    variables: &Variables,
) -> Result<Place, String> {
    match profile.adapter.as_deref() {
        Some("postgres") => {}
        Some(other) => {
            return Err(format!(
                "how a login is tried is known for `type: postgres` alone, and this output has `type: {other}`"
            ));
        }
        None => return Err("the output's `type:` is not known".to_owned()),
    }
    if let Some(name) = LEADS_ELSEWHERE
        .iter()
        .find(|name| variables.text(name).is_some())
    {
        return Err(format!("{name} is set, which libpq obeys, and we do not"));
    }
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| value(profile, rendering, name))
            .transpose()
    };
    for key in ["sslcert", "sslkey"] {
        if text(&[key])?.is_some() {
            return Err(format!(
                "the output has `{key}:`, and a login by certificate is not tried"
            ));
        }
    }
    let host = text(&["host"])?.ok_or("the output has no `host:`")?;
    let port = text(&["port"])?.ok_or("the output has no `port:`")?;
    let sslmode = match text(&["sslmode"])? {
        Some(mode) => mode,
        None => variables.text("PGSSLMODE").unwrap_or("prefer").to_owned(),
    };
    let sslrootcert =
        text(&["sslrootcert"])?.or_else(|| variables.text("PGSSLROOTCERT").map(str::to_owned));
    Ok(Place {
        host,
        port: port
            .parse()
            .map_err(|_| format!("`port: {port}` is no port"))?,
        database: text(&["dbname", "database"])?.ok_or("the output has no `dbname:`")?,
        sslmode: sslmode
            .parse()
            .map_err(|()| format!("`sslmode: {sslmode}` is not known"))?,
        sslrootcert: sslrootcert.map(PathBuf::from),
    })
}

/// A key of the output as dbt has it; none where it is not there.
fn value(
    profile: &Profile,
    rendering: &Rendering<'_>,
    key: &str,
) -> Option<Result<String, String>> {
    let node = profile.output.map()?.get(key)?;
    let uncertain = || {
        Some(Err(format!(
            "`{key}:` of the output is not known for certain"
        )))
    };
    let text = match &node.value {
        Value::Null => return None,
        Value::Int(digits) => return Some(Ok(digits.clone())),
        Value::Str(text) => text,
        _ => return uncertain(),
    };
    match rendering.render(text, None) {
        Ok(rendered) if rendered.secret => uncertain(),
        Ok(rendered) => match rendered.value {
            Rendered::Str(text, _) => Some(Ok(text.to_string())),
            Rendered::Int(number) => Some(Ok(number.to_string())),
            Rendered::None => None,
            _ => uncertain(),
        },
        Err(_) => uncertain(),
    }
}
