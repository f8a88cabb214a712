// Holdstill takes application-consistent restore points of MySQL and MariaDB, and turns them back into what people need.
package main

import (
	"os"

	"github.com/holdstill/holdstill/internal/cli"
	"github.com/holdstill/holdstill/internal/freeze"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == freeze.Command {
		os.Exit(freeze.GuardMain(os.Args[2:]))
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
