//! The command that installs Postgres on this platform, for error messages.

use std::fs;

/// Distributions by their names in `/etc/os-release`, and the command.
const BY_DISTRIBUTION: &[(&[&str], &str)] = &[
    (&["debian", "ubuntu"], "apt-get install -y postgresql"),
    (&["fedora", "rhel", "centos", "amzn"], "dnf install -y postgresql-server"),
    (&["alpine"], "apk add postgresql"),
    (&["arch"], "pacman -S --noconfirm postgresql"),
    (&["suse", "opensuse"], "zypper install -y postgresql-server"),
    (&["gentoo"], "emerge dev-db/postgresql"),
    (&["void"], "xbps-install -y postgresql"),
];

/// The command for this machine.
pub fn install_command(as_root: bool) -> String {
    if cfg!(target_os = "macos") {
        return "brew install postgresql@17".to_owned();
    }
    if cfg!(target_os = "freebsd") {
        return with_sudo("pkg install -y postgresql17-server", as_root);
    }
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    command_for(&os_release, as_root)
}

/// Reads `ID` and then `ID_LIKE`, which names the families that a distribution descends from.
fn command_for(os_release: &str, as_root: bool) -> String {
    let names = |key: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    let (id, like) = (names("ID"), names("ID_LIKE"));
    if id == "nixos" {
        return "nix-shell -p postgresql".to_owned();
    }
    id.split_whitespace()
        .chain(like.split_whitespace())
        .find_map(|name| BY_DISTRIBUTION.iter().find(|(names, _)| names.contains(&name)))
        .map_or_else(
            || "your system's package manager (the package is usually called postgresql)".to_owned(),
            |(_, command)| with_sudo(command, as_root),
        )
}

fn with_sudo(command: &str, as_root: bool) -> String {
    if as_root { command.to_owned() } else { format!("sudo {command}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_recognised_by_its_name_or_its_family() {
        let fedora = "NAME=\"Fedora Linux\"\nID=fedora\n";
        assert_eq!(command_for(fedora, false), "sudo dnf install -y postgresql-server");
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        assert_eq!(command_for(mint, true), "apt-get install -y postgresql");
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        assert!(command_for(rocky, false).contains("dnf"));
        for (id, tool) in [("alpine", "apk"), ("arch", "pacman")] {
            assert!(command_for(&format!("ID={id}"), true).starts_with(tool), "{id}");
        }
    }

    #[test]
    fn an_unknown_platform_still_gets_advice() {
        assert!(command_for("", false).contains("package manager"));
    }
}
