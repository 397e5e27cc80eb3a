//! `xdirector completions`

use anyhow::Result;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;

use super::Cli;
use super::output::print;

/// Print what makes a shell complete xdirector's commands and options
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  xdirector completions bash > /etc/bash_completion.d/xdirector\n  xdirector completions zsh > \
                        /usr/share/zsh/vendor-completions/_xdirector\n  xdirector completions fish > \
                        /usr/share/fish/vendor_completions.d/xdirector.fish"
)]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(self) -> Result<()> {
        let generator = match self.shell {
            Shell::Bash => Generator::Bash,
            Shell::Zsh => Generator::Zsh,
            Shell::Fish => Generator::Fish,
        };
        print(&script(generator))?;
        Ok(())
    }
}

fn script(generator: Generator) -> String {
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "xdirector", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_learns_each_command() {
        for generator in [Generator::Bash, Generator::Zsh, Generator::Fish] {
            let script = script(generator);
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{generator}: {}", command.get_name());
            }
        }
    }
}
