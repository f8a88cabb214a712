package cli

import (
	"errors"

	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/wire"
)

// repositoryFaults is all that can be wrong with a repository: the exit code, and what a person can do.
var repositoryFaults = []struct {
	err  error
	code int
	hint string
}{
	{wire.ErrNoRepository, codeNotFound, "holdstill repository init makes one, holdstill repository connect uses one that exists: see holdstill repository --help"},
	{repository.ErrNone, codeNotFound, "is the url right, and the file system mounted? Only if there never was a repository: holdstill repository init"},
	{repository.ErrNotThere, codeNotFound, "see holdstill points list; holdstill points ship sends a point there"},
	{repository.ErrExists, codeUsage, "holdstill repository connect uses it; for another one name an empty place"},
	{repository.ErrForeign, codeUsage, "nothing was changed there; name an empty directory or prefix, or one that does not exist yet"},
	{secret.ErrNone, codeUsage, "say where it comes from, with password_file, password_command or password_credential in the section repository or as flags, or run it at a terminal"},
	{repository.ErrPassword, codeFailed, "nothing was changed; it is the one that was given to holdstill repository init: there is no way around it"},
	{repository.ErrOther, codeFailed, "if the url is wrong or another file system is mounted there, mend that; if this machine shall use the repository that is there now: holdstill repository connect"},
	{errDamages, codeFailed, "other points, and the snapshots on the machines, are not touched by it; what to do: docs/repository.md, Damage"},
	{repository.ErrDamaged, codeFailed, "holdstill repository check names all that is damaged; what to do: docs/repository.md, Damage"},
}

// repositoryFault finds what is wrong with the repository; a code of 0 means: nothing.
func repositoryFault(err error) (code int, hint string) {
	for _, f := range repositoryFaults {
		if errors.Is(err, f.err) {
			return f.code, f.hint
		}
	}
	return 0, ""
}
