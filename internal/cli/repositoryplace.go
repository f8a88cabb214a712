package cli

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/holdstill/holdstill/internal/config"
)

// place is what flags say of a repository.
type place struct {
	given config.Repository
	flags *pflag.FlagSet
}

func newPlace() *place {
	p := &place{flags: pflag.NewFlagSet("repository", pflag.ContinueOnError)}
	bindPlace(p.flags, &p.given)
	return p
}

// bindPlace makes flags of what a section of the configuration would say.
func bindPlace(flags *pflag.FlagSet, r *config.Repository) {
	flags.StringVar(&r.URL, "url", r.URL, "/DIRECTORY, s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX, gs://BUCKET/PREFIX or sftp://USER@HOST:PORT/PATH")
	flags.StringVar(&r.Endpoint, "endpoint", r.Endpoint, "HOST[:PORT] of S3 or Azure, if not the public service")
	flags.StringVar(&r.Region, "region", r.Region, "region of S3")
	flags.BoolVar(&r.PlainHTTP, "plain-http", r.PlainHTTP, "S3 or Azure without TLS")
	flags.StringVar(&r.CredentialsFile, "credentials-file", r.CredentialsFile, "what the store wants to see, mode 0600: an ini file (S3, Azure), a JSON key (Google), a private key (SFTP)")
	flags.StringVar(&r.KnownHostsFile, "known-hosts-file", r.KnownHostsFile, "host keys for SFTP")
	flags.StringVar(&r.PasswordFile, "password-file", r.PasswordFile, "file with the password, mode 0600")
	flags.StringVar(&r.PasswordCommand, "password-command", r.PasswordCommand, "shell command that prints the password")
	flags.StringVar(&r.PasswordCredential, "password-credential", r.PasswordCredential, "systemd credential with the password")
	flags.Var(&r.UploadLimit, "upload-limit", "at most so much a second, as 50MiB")
	flags.Var(&r.DownloadLimit, "download-limit", "at most so much a second, as 50MiB")
}

// locate finds the repository that init and connect are about: what the section says, else the flags, else what was remembered. The second
// result tells whether it is to be remembered.
func (a *app) locate(at *place) (*config.Repository, bool, error) {
	c, err := a.written()
	if err != nil {
		return nil, false, err
	}
	given := at.changed()
	switch {
	case c != nil && c.Repository != nil:
		return c.Repository, false, contradictions(given, *c.Repository, a.configPath)
	case at.given.URL != "":
		if err := at.given.Check(); err != nil {
			return nil, false, usageError{err}
		}
		return &at.given, true, nil
	case len(given) == 0:
		if known, err := a.dirs.KnownRepository(); err != nil || known != nil {
			return known, true, err
		}
	}
	return nil, false, usagef("say where the repository is: with --url, or in the section repository of %s", a.configPath)
}

func (p *place) changed() []*pflag.Flag {
	var out []*pflag.Flag
	p.flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			out = append(out, f)
		}
	})
	return out
}

// contradictions refuses flags that say something else than the section: what they said would be forgotten by the next command.
func contradictions(given []*pflag.Flag, section config.Repository, path string) error {
	says := pflag.NewFlagSet("section", pflag.ContinueOnError)
	bindPlace(says, &section)
	bindLock(says, &section)
	var other []string
	for _, f := range given {
		if says.Lookup(f.Name).Value.String() != f.Value.String() {
			other = append(other, "--"+f.Name)
		}
	}
	if len(other) == 0 {
		return nil
	}
	return withHint{usagef("%s: the section repository of %s says otherwise", strings.Join(other, ", "), path), "change the section, or leave the flag out"}
}

func bindLock(flags *pflag.FlagSet, r *config.Repository) {
	flags.Var(&r.ObjectLock, "object-lock", "MODE:PERIOD, as governance:720h: nobody can change or delete for so long (S3, Azure, Google)")
}
