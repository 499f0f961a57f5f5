//! The time zone in which months begin: asked for while Stripe is set up, because sums by month depend on it.

use crate::cli::prompt;
use anyhow::anyhow;
use chrono_tz::Tz;
use std::path::Path;

/// The setting.
pub(super) const SETTING: &str = "REPORT_TIMEZONE";

/// The zone that the operator chooses; `None` if they leave it as it is.
pub(super) async fn ask() -> anyhow::Result<Option<Tz>> {
    let here = of_this_machine();
    let example = here.map_or("Europe/Berlin", Tz::name);
    let default = here.map_or("UTC", Tz::name);
    loop {
        let answer = prompt::text(&format!(
            "In which time zone do your months begin? A name such as {example} [{default}]"
        ))
        .await?;
        match answer.as_str() {
            "" => return Ok(here),
            text => match parse(text) {
                Ok(zone) => return Ok(Some(zone)),
                Err(error) => eprintln!("{error}."),
            },
        }
    }
}

/// The zone of this name.
pub(super) fn parse(text: &str) -> anyhow::Result<Tz> {
    text.trim().parse().map_err(|_| anyhow!("{} is not the name of a time zone", prompt::plain(text)))
}

/// The zone that this machine is set to, if it has a name.
fn of_this_machine() -> Option<Tz> {
    let of_variable = std::env::var("TZ").ok().and_then(|text| text.trim_start_matches(':').parse().ok());
    of_variable.or_else(|| of_link(&std::fs::read_link("/etc/localtime").ok()?))
}

/// The zone that a link such as `/usr/share/zoneinfo/Europe/Berlin` leads to.
fn of_link(path: &Path) -> Option<Tz> {
    let (_, name) = path.to_str()?.split_once("zoneinfo/")?;
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_a_machine_is_where_its_link_leads() {
        let zone = |path: &str| of_link(Path::new(path));
        assert_eq!(zone("/usr/share/zoneinfo/Europe/Berlin"), Some(Tz::Europe__Berlin));
        assert_eq!(zone("../usr/share/zoneinfo/Etc/UTC"), Some(Tz::Etc__UTC));
        assert_eq!((zone("/usr/share/zoneinfo/nowhere"), zone("/etc/x")), (None, None));
        assert!(parse("Europe/Berlin").is_ok() && parse("Berlin").is_err());
    }
}
