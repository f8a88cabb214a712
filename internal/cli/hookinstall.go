package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hookfiles"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) hookInstall() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "install HOST",
		Short: "Write the files that make a host call Holdstill around its snapshots",
		Long: `Install writes the files of a host (` + hostNames() + `) with the owner and the mode that it asks for, and prints
what is left for you to do. What was there is kept, and comes back with uninstall, byte for byte. Files that others own too are merged
with. It may be repeated: after an upgrade, after a kill, or when the program has moved.

It refuses to overwrite what somebody else has changed since. With --dry-run it prints what it would write, and changes nothing.`,
		Example:   "  holdstill hook install azure --dry-run\n  holdstill hook install qemu",
		Args:      exactly(1),
		ValidArgs: strings.Split(hostNames(), ", "),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := personality(args[0])
			if err != nil {
				return err
			}
			program, err := a.program()
			if err != nil {
				return err
			}
			installer := hookfiles.New("/", a.dirs.State)
			changes, err := installer.Install(p, program, dryRun)
			if err != nil {
				return rootHint(err)
			}
			var faults []hookfiles.Fault
			if !dryRun {
				if faults, err = installer.Check(p, program); err != nil {
					return err
				}
			}
			return a.tellHooks(p, changes, faults, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be written, and change nothing")
	return cmd
}

func (a *app) hookUninstall() *cobra.Command {
	var dryRun, force bool
	cmd := &cobra.Command{
		Use:   "uninstall HOST",
		Short: "Put back what was there before the host called Holdstill",
		Long: `Uninstall removes the files that install wrote, and puts back what it found: content, mode and owner. A file that somebody else
has changed since is left as it is, and told, unless you say --force; its original is kept beside the state.`,
		Example:   "  holdstill hook uninstall azure --dry-run\n  holdstill hook uninstall azure",
		Args:      exactly(1),
		ValidArgs: strings.Split(hostNames(), ", "),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := personality(args[0])
			if err != nil {
				return err
			}
			changes, err := hookfiles.New("/", a.dirs.State).Uninstall(p.Name(), force, dryRun)
			if err != nil {
				return rootHint(err)
			}
			for i := range changes {
				changes[i].Register = ""
			}
			return a.tellHooks(p, changes, nil, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be put back, and change nothing")
	cmd.Flags().BoolVar(&force, "force", false, "put back the original of files, too, that somebody else has changed since")
	return cmd
}

func personality(name string) (hook.Personality, error) {
	p, err := wire.PersonalityNamed(name)
	if err != nil {
		return nil, withHint{usageError{err}, "known are " + hostNames()}
	}
	return p, nil
}

func hostNames() string {
	var names []string
	for _, p := range wire.Personalities() {
		names = append(names, p.Name())
	}
	return strings.Join(names, ", ")
}

// program is what the hosts are to call: this file, and this configuration.
func (a *app) program() (hookfiles.Program, error) {
	binary, err := os.Executable()
	if err != nil {
		return hookfiles.Program{}, fmt.Errorf("cannot tell where this program lies: %w", err)
	}
	program := hookfiles.Program{Binary: binary}
	if a.configPath != config.DefaultPath {
		if program.Config, err = filepath.Abs(a.configPath); err != nil {
			return hookfiles.Program{}, fmt.Errorf("cannot tell where the configuration lies: %w", err)
		}
	}
	return program, nil
}

func rootHint(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return withHint{err, "hosts take files of root only: run it as root"}
	}
	return err
}

// tellHooks prints what was or would be done, what is left for a person to do, and what is wrong all the same.
func (a *app) tellHooks(p hook.Personality, changes []hookfiles.Change, faults []hookfiles.Fault, dryRun bool) error {
	register := []string{}
	for _, c := range changes {
		if c.Register != "" {
			register = append(register, c.Register)
		}
	}
	if a.json {
		if changes == nil {
			changes = []hookfiles.Change{}
		}
		if faults == nil {
			faults = []hookfiles.Fault{}
		}
		return a.printJSON(map[string]any{"host": p.Name(), "dry_run": dryRun, "changes": changes, "register": register, "faults": faults})
	}
	a.printChanges(changes, dryRun)
	if len(register) > 0 {
		heading(a.stdout, "Left for you to do")
		for _, text := range register {
			fmt.Fprintln(a.stdout, "  "+strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	a.printFaults(faults)
	return nil
}

func (a *app) printChanges(changes []hookfiles.Change, dryRun bool) {
	heading(a.stdout, map[bool]string{true: "Would be done", false: "Done"}[dryRun])
	t := newTable(a.stdout)
	for _, c := range changes {
		t.row(c.Action, printable(c.Path), c.Owner, c.Mode, printable(c.Why))
	}
	t.flush()
	if len(changes) == 0 {
		fmt.Fprintln(a.stdout, "  nothing: no file of this host is installed")
	}
	if !dryRun {
		return
	}
	for _, c := range changes {
		if c.Content != "" && c.Action != hookfiles.None {
			heading(a.stdout, printable(c.Path))
			for line := range strings.Lines(c.Content) {
				fmt.Fprintln(a.stdout, "  "+printable(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")))
			}
		}
	}
}

func (a *app) printFaults(faults []hookfiles.Fault) {
	if len(faults) == 0 {
		return
	}
	heading(a.stdout, "In the way")
	for _, f := range faults {
		fmt.Fprintf(a.stdout, "  %s %s: %s\n      %s\n", color.RedString("x"), printable(f.Path), f.What, f.Remedy)
	}
}
