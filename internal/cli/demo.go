package cli

import (
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/demo"
)

func (a *app) demo() *cobra.Command {
	o := demo.Options{Out: a.stdout}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the whole scenario on three local servers, for real",
		Long: `Demo makes three MariaDB servers on this machine, in network namespaces and on file systems of their own, with replication
and a writer; takes a restore point of the replica and of the source; deploys a new replica from a point; compares all
rows; and cleans up. It needs root, Debian's mariadb-server and wamerican: see "make demo".`,
		Example: "  holdstill demo\n  holdstill demo --keep\n  holdstill demo watch\n  holdstill demo clean",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return usagef("the demo is for people: it has no --json")
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.PersistentFlags().StringVar(&o.Dir, "dir", demo.DefaultDir, "where the demo lives")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave everything running, and say how to look around")
	cmd.AddCommand(
		&cobra.Command{Use: "write", Short: "Insert random words into a kept demo's source until interrupted", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error { return demo.Write(cmd.Context(), o) }},
		&cobra.Command{Use: "watch", Short: "Show the newest rows of a kept demo's servers, and the lag", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error { return demo.Watch(cmd.Context(), o) }},
		&cobra.Command{Use: "clean", Short: "Remove a kept demo", Args: exactly(0),
			RunE: func(*cobra.Command, []string) error { return demo.Clean(o.Dir) }},
	)
	return cmd
}
