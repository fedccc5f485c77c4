//! README.md says only what is true: its commands run, its configurations load, its output is the tool's.

use crate::support::Lab;

#[test]
fn p() {
    let lab = Lab::new();
    println!(
        "{}",
        lab.run(&["plan", "--", "dbt", "build", "--target", "prod"])
            .success()
    );
    println!(
        "{}",
        lab.run(&["plan", "--json", "--", "dbt", "build", "--target", "prod"])
            .success()
    );
    println!(
        "{}",
        lab.run(&["render", "--", "dbt", "build", "--target", "prod"])
            .success()
    );
    println!(
        "{}",
        lab.run(&["render", "--json", "--", "dbt", "build", "--target", "prod"])
            .success()
    );
    println!(
        "{}",
        lab.run(&["exec", "--", "dbt", "build", "--target", "prd"])
            .stderr
    );
    println!(
        "{}",
        lab.run(&["exec", "--", "dbt", "build", "--target", "dev"])
            .stderr
    );
    println!("{}", lab.run(&["--help"]).stdout);
    println!("{}", lab.run(&["exec", "--help"]).stdout);
    lab.exec_script("true").success();
    println!("{}", std::fs::read_to_string(lab.home.record()).unwrap());
}
