//! `[hooks]`: what is run when something changes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::User;
use toml::Spanned;

use super::problem::Report;
use super::values::duration;
use super::{Account, raw};

const TIMEOUT: Duration = Duration::from_secs(10);

/// `[hooks]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// `command`: an absolute path.
    pub program: PathBuf,
    /// Whom it runs as; `None`: as the daemon.
    pub user: Option<Account>,
    /// It is killed if it runs for longer.
    pub timeout: Duration,
}

/// Makes sense of the section. What is wrong is in the report, and then the result is of no use.
pub fn hooks(report: &mut Report<'_>, raw: &raw::Hooks) -> Hooks {
    let raw::Hooks { command, user, timeout } = raw;
    Hooks {
        program: program(report, command),
        user: user.as_ref().and_then(|user| account(report, user)),
        timeout: duration(report, "hooks.timeout", timeout.as_ref(), TIMEOUT),
    }
}

fn program(report: &mut Report<'_>, command: &Spanned<String>) -> PathBuf {
    let program = PathBuf::from(command.get_ref());
    if !program.is_absolute() || command.get_ref().contains('\0') {
        let message = format!("hooks.command is \"{}\"; it must be an absolute path", command.get_ref());
        report.error(command.span(), message);
    } else if !is_executable(&program) {
        report.warning(command.span(), format!("{} is no program that can be run here", program.display()));
    }
    program
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn account(report: &mut Report<'_>, name: &Spanned<String>) -> Option<Account> {
    let problem = match User::from_name(name.get_ref()) {
        Ok(Some(user)) => {
            return Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() });
        }
        Ok(None) => format!("hooks.user is \"{}\", and this machine has no such user", name.get_ref()),
        Err(error) => format!("hooks.user cannot be looked up: {error}"),
    };
    report.error(name.span(), problem);
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Parsed};
    use super::*;

    fn parse(hooks: &str) -> Result<Parsed, String> {
        let text = format!(
            "[director]\ninterfaces = [\"eth0\"]\n[hooks]\n{hooks}\n[pool.p]\n[[pool.p.real]]\naddress = \"10.0.0.1\"\n\
             [[service]]\nvip = \"10.0.0.100\"\nport = 80\nprotocol = \"tcp\"\npool = \"p\"\n"
        );
        Config::parse("x.toml", &text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_hook_is_a_program_with_a_user_and_a_timeout() {
        let Parsed { config, warnings } = parse("command = \"/bin/sh\"").expect("it is good");
        assert_eq!(config.hooks, Some(Hooks { program: "/bin/sh".into(), user: None, timeout: TIMEOUT }));
        assert_eq!(warnings, []);
        let all = parse("command = \"/bin/sh\"\nuser = \"root\"\ntimeout = \"2s\"").expect("it is good");
        let hooks = all.config.hooks.expect("it has one");
        assert_eq!((hooks.user.map(|user| user.uid), hooks.timeout), (Some(0), Duration::from_secs(2)));
    }

    #[test]
    fn each_mistake_is_named_with_its_cure() {
        let rows = [
            ("command = \"hook.sh\"", "x.toml:4: hooks.command is \"hook.sh\"; it must be an absolute path"),
            ("command = \"/bin/sh\"\nuser = \"no-such-user\"", "x.toml:5: hooks.user is \"no-such-user\", and this"),
            ("command = \"/bin/sh\"\ntimeout = \"0s\"", "x.toml:5: hooks.timeout is \"0s\"; a duration is"),
            ("user = \"root\"", "missing field `command`"),
        ];
        for (written, expected) in rows {
            let error = parse(written).expect_err(written);
            assert!(error.contains(expected), "{written}: {error}");
        }
        let warnings = parse("command = \"/nowhere/hook\"").expect("only a warning").warnings;
        assert_eq!(warnings[0].to_string(), "x.toml:4: /nowhere/hook is no program that can be run here");
    }
}
