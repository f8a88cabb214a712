package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/store"
)

// TestRepositoryStores makes one in every kind of store and connects another machine to it; the stores' keys are secrets too.
func TestRepositoryStores(t *testing.T) {
	for _, kind := range store.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			e := store.For(t, kind, t.TempDir())
			text, secrets := section(t, e)
			secrets = append(secrets, repositoryPassword)
			a, b := newMachine(t, "a"), newMachine(t, "b")
			for _, m := range []*machine{a, b} {
				m.env = e.Env
				m.configure("repository:\n  password_file: " + secretFile(t, repositoryPassword) + "\n" + text)
			}
			a.fails(4, []string{"there is no repository"}, "repository", "status")
			a.spied(secrets, "-v", "repository", "init").want(t, 0)
			b.spied(secrets, "-v", "repository", "connect").want(t, 0)
			id := a.holdstill("--json", "repository", "status").want(t, 0).keys(t)["id"]
			if other := b.holdstill("--json", "repository", "status").want(t, 0).keys(t)["id"]; other != id {
				t.Errorf("one is %v, the other %v", id, other)
			}
			a.holdstill("repository", "maintain").want(t, 0)
			a.fails(2, []string{"connected to the repository"}, "repository", "init")
			newOne := newMachine(t, "c")
			newOne.env, newOne.config = e.Env, a.config
			newOne.fails(2, []string{"there is a repository already"}, "repository", "init")
			a.holdsNo(secrets...)
			b.holdsNo(secrets...)
		})
	}
}

// section is the configuration for a store, and what is secret about it.
func section(t *testing.T, e *store.Endpoint) (text string, secrets []string) {
	t.Helper()
	switch e.Kind {
	case store.KindS3:
		keys := secretFile(t, "[default]\naws_access_key_id = "+e.User+"\naws_secret_access_key = "+e.Secret+"\n")
		return fmt.Sprintf("  url: s3://%s/deep/down\n  endpoint: %s\n  region: %s\n  plain_http: true\n  credentials_file: %s\n", e.Bucket, e.Addr, e.Region, keys), []string{e.Secret}
	case store.KindAzure:
		keys := secretFile(t, "account = "+e.User+"\nkey = "+e.Secret+"\n")
		return fmt.Sprintf("  url: azure://%s/deep\n  endpoint: %s\n  plain_http: true\n  credentials_file: %s\n", e.Bucket, e.Domain, keys), []string{e.Secret}
	case store.KindGoogle:
		return fmt.Sprintf("  url: gs://%s/deep\n", e.Bucket), nil
	}
	return fmt.Sprintf("  url: sftp://%s@%s%s/deep\n  credentials_file: %s\n  known_hosts_file: %s\n", e.User, e.Addr, e.Path, e.KeyFile, e.KnownHosts), nil
}

// TestRepositoryDamage: a check finds what went bad in the store, and names whose it is.
func TestRepositoryDamage(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
	at := filepath.Join(s.lab.Dir(), "store")
	s.configure(fmt.Sprintf("\nrepository:\n  url: %s\n  password_file: %s\n", at, secretFile(t, repositoryPassword)))
	s.holdstill("repository", "init").want(t, 0)
	p := s.backup()
	whole := s.holdstill("--json", "repository", "check", "latest").want(t, 0).keys(t)
	if whole["points"] != float64(1) || whole["files"].(float64) < 10 || whole["bytes"].(float64) < 1<<20 {
		t.Errorf("checked %v", whole)
	}
	contains(t, s.holdstill("repository", "status").want(t, 0).stdout, "shop", "HOST")
	check(t, damage(at))
	o := s.holdstill("repository", "check", "--read", "100").want(t, 1)
	contains(t, o.stdout, "damaged", p.ID, "blob p")
	contains(t, o.stderr, "hint: ")
	told := s.holdstill("--json", "repository", "check", p.ID).want(t, 1).keys(t)
	if damages := told["damages"].([]any); len(damages) == 0 || damages[0].(map[string]any)["point"] != p.ID {
		t.Errorf("%v", told)
	}
}

// damage changes a byte in the middle of every pack of data.
func damage(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(rel, "p") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		content[len(content)/2] ^= 1
		return os.WriteFile(path, content, 0o600)
	})
}
