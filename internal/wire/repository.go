package wire

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
	"github.com/holdstill/holdstill/internal/secret"
)

// ErrNoRepository means that neither the configuration nor this machine's state names one.
var ErrNoRepository = errors.New("this machine has no repository")

// Logged is a context in which what repositories have to say is part of the log.
func Logged(ctx context.Context, log *slog.Logger) context.Context { return kopia.WithLog(ctx, log) }

// RepositoryOf tells where the repository is: as configured, else as this machine was connected.
func RepositoryOf(c *config.Config, dirs config.Dirs) (*config.Repository, error) {
	if c != nil && c.Repository != nil {
		return c.Repository, nil
	}
	r, err := dirs.KnownRepository()
	if err == nil && r == nil {
		err = ErrNoRepository
	}
	return r, err
}

// OpenRepository opens the repository that this machine uses, which must be the one that it knows.
func OpenRepository(ctx context.Context, c *config.Config, dirs config.Dirs, ask secret.Ask) (repository.Store, error) {
	r, err := RepositoryOf(c, dirs)
	if err != nil {
		return nil, err
	}
	return repositoryWith(ctx, r, dirs, ask, kopia.Open)
}

// ConnectRepository opens a repository, and knows it from now on.
func ConnectRepository(ctx context.Context, r *config.Repository, dirs config.Dirs, ask secret.Ask) (repository.Store, error) {
	return repositoryWith(ctx, r, dirs, ask, kopia.Connect)
}

// InitRepository makes a repository, and knows it from now on.
func InitRepository(ctx context.Context, r *config.Repository, dirs config.Dirs, ask secret.Ask) (repository.Store, error) {
	return repositoryWith(ctx, r, dirs, ask, kopia.Init)
}

// KnownRepositoryID is the id of the repository that this machine was last connected to; "" if there was none.
func KnownRepositoryID(dirs config.Dirs) (string, error) {
	return kopia.Settings{Dir: dirs.Repository()}.Known()
}

func repositoryWith(ctx context.Context, r *config.Repository, dirs config.Dirs, ask secret.Ask,
	open func(context.Context, kopia.Settings) (*kopia.Store, error),
) (repository.Store, error) {
	if err := errors.Join(r.Check(), hostname.Check()); err != nil {
		return nil, err
	}
	settings := kopia.Settings{
		Location: kopia.Location{
			URL: r.URL, Endpoint: r.Endpoint, Region: r.Region, Plain: r.PlainHTTP,
			CredentialsFile: r.CredentialsFile, KnownHostsFile: r.KnownHostsFile,
			Lock: kopia.Lock{Mode: r.ObjectLock.Mode, Period: time.Duration(r.ObjectLock.Period)},
		},
		Dir: dirs.Repository(), Host: hostname.Name(),
		UploadLimit: float64(r.UploadLimit), DownloadLimit: float64(r.DownloadLimit),
	}
	var err error
	source := secret.Source{File: r.PasswordFile, Command: r.PasswordCommand, Credential: r.PasswordCredential}
	if settings.Password, err = source.Read(ctx, "the repository at "+r.URL, ask); err != nil {
		return nil, err
	}
	store, err := open(ctx, settings)
	if err != nil {
		return nil, err // not a store that is no store
	}
	return store, nil
}
