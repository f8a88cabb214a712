// Package cli is the command line: commands, flags, what they print, and the exit codes. Names, codes and JSON keys are a
// contract: add freely, rename never.
package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/wire"
)

// app is what every command has: the global flags, the outputs, the directories.
type app struct {
	configPath string
	json       bool
	logFormat  string
	verbose    bool

	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger
	dirs   config.Dirs

	machine machine // where doctor looks for scripts
	opened  openedStock
	shelf   *logShelf // binary logs that are not here; nil: none were asked for
}

// Main runs a command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, dirs: config.Directories()}
	// Interrupts cancel the run, which then takes everything back; they never kill it half way. A closed terminal or pipe
	// is no reason to leave a server held either.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	// What is nobody else's is made with a mode that says so; what a server must read must not depend on the caller's shell.
	syscall.Umask(0o022)

	root := a.root()
	a.json = wantsJSON(args) // a command line with a fault is reported before its flags are read
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	a.leaveShelf()
	return report(err, a.json, stdout, stderr)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdstill",
		Short: "Restore points of MySQL and MariaDB, taken while they run",
		Long: `Holdstill takes application-consistent restore points of MySQL and MariaDB servers on this machine, without
stopping the service, and turns them back into what you need: a running server, a new replica, one table, the moment before a mistake.

Exit codes: 0 done; 1 failed, nothing left behind; 2 usage or configuration; 3 a point was recorded, but below the
consistency that was required; 4 not found; 5 busy; 6 something could not be undone (the message says what to type).`,
		Example: `  holdstill doctor                 what a backup would do here, and what is missing
  holdstill backup                 one restore point
  holdstill points list            the restore points
  holdstill query latest "SELECT COUNT(*) FROM shop.orders"
  holdstill restore latest --datadir /srv/restored --start
  holdstill replica latest --datadir /srv/replica --config-dir /etc/mysql-replica`,
		Args:          usage(cobra.NoArgs),
		RunE:          a.group,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.logFormat != "text" && a.logFormat != "json" {
				return usagef("--log-format must be text or json, not %q", a.logFormat)
			}
			a.log = newLogger(a.logFormat, a.verbose, a.stderr)
			cmd.SetContext(wire.Logged(cmd.Context(), a.log))
			return a.dirs.Check()
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configPath, "config", config.DefaultPath, "configuration file")
	flags.BoolVar(&a.json, "json", false, "print one JSON document on stdout and nothing else there")
	flags.StringVar(&a.logFormat, "log-format", "text", "form of the log on stderr: text or json")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log more")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.doctor(), a.backup(), a.points(), a.prune(), a.restore(), a.dump(), a.query(), a.diff(), a.replica(), a.mount(), a.umount(), a.mountServer(), a.recover(), a.hook(), a.holder(), a.demo(), a.version(), a.man(root))
	root.AddCommand(a.repository(), a.binlog())
	if c := a.fault(); c != nil {
		root.AddCommand(c)
	}
	return root
}

func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// group is a command that does nothing without a subcommand: help for a person, a fault for a program.
func (a *app) group(cmd *cobra.Command, _ []string) error {
	if a.json {
		return usagef("%s needs a subcommand", cmd.CommandPath())
	}
	return cmd.Help()
}

func (a *app) catalogue() *catalog.Store { return catalog.Open(a.dirs.Points()) }

// exactly and atMost are cobra's argument checks with our exit code.
func exactly(n int) cobra.PositionalArgs { return usage(cobra.ExactArgs(n)) }
func atMost(n int) cobra.PositionalArgs  { return usage(cobra.MaximumNArgs(n)) }

func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return withHint{usageError{err}, "see " + cmd.CommandPath() + " --help"}
		}
		return nil
	}
}

// isTerminal reports whether a person reads what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTTY(int(f.Fd()))
}
