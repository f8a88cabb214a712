package cli

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/holdstill/holdstill/internal/fault"
)

// Version is set by the linker; a build from a checkout tells its commit instead.
var Version = ""

func version() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "dev-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "dev"
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0), Example: "  holdstill version --json",
		RunE: func(*cobra.Command, []string) error {
			return a.say(map[string]string{"version": version(), "go": runtime.Version()}, "holdstill %s (%s)", version(), runtime.Version())
		},
	}
}

func (a *app) man(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into a directory", Args: exactly(1), Example: "  holdstill man /usr/local/share/man/man1",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("cannot write the manual: %w", err)
			}
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Title: "HOLDSTILL", Section: "1", Source: "holdstill " + version()}, args[0])
		},
	}
}

// fault exists only in a binary that can inject faults.
func (a *app) fault() *cobra.Command {
	if !fault.Enabled {
		return nil
	}
	cmd := &cobra.Command{Use: "fault", Short: "Fault injection, for tests", Args: exactly(0)}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "Print every boundary where a fault can be injected", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(fault.Boundaries())
			}
			for _, b := range fault.Boundaries() {
				fmt.Fprintln(a.stdout, b)
			}
			return nil
		},
	})
	return cmd
}
