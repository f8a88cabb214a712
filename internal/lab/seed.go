package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
)

// baked are options that MySQL bakes into the datadir, or that change what it makes; such servers are initialised each on its own.
var baked = regexp.MustCompile(`^(loose[-_])?(innodb|lower|default[-_]table|early|keyring|character|collation|plugin|skip[-_]ssl|ssl)`)

// initialise fills the datadir, from a seed when it may.
func (s *Server) initialise(ctx context.Context, seeds string) error {
	if err := s.fill(ctx, seeds); err != nil {
		return err
	}
	return s.individual()
}

func (s *Server) fill(ctx context.Context, seeds string) error {
	if seeds == "" || !s.seedable() {
		return s.bootstrap(ctx)
	}
	seed, err := s.seed(seeds)
	if err != nil {
		return err
	}
	if isDir(seed) {
		return copyTree(ctx, seed, s.Datadir)
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	return keepSeed(ctx, s.Datadir, seed)
}

// individual takes away what only one server may have: its name, and the log of the day on which the seed was made. The server makes its own at the first start.
func (s *Server) individual() error {
	logs, err := filepath.Glob(filepath.Join(s.Datadir, "binlog.*"))
	for _, name := range append(logs, filepath.Join(s.Datadir, "auto.cnf")) {
		if e := os.Remove(name); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (s *Server) seedable() bool {
	if s.Build.Product == MariaDB {
		return true // mariadb-install-db reads none of our options
	}
	for _, option := range s.Options {
		if baked.MatchString(option) {
			return false
		}
	}
	return true
}

// seed names the seed after the very program that made it: an upgraded server must not get an older one's files.
func (s *Server) seed(seeds string) (string, error) {
	b := s.Build
	if b.like != nil {
		b = *b.like
	}
	info, err := os.Stat(b.Server)
	if err != nil {
		return "", err
	}
	h := fnv.New32a()
	fmt.Fprint(h, b.Server, info.Size(), info.ModTime().UnixNano(), b.options())
	return filepath.Join(seeds, fmt.Sprintf("%s-%08x", b.Name, h.Sum32())), nil
}

// keepSeed renames a finished copy into place; of two makers the second finds the place taken, which is as good.
func keepSeed(ctx context.Context, datadir, seed string) error {
	if err := os.MkdirAll(filepath.Dir(seed), 0o700); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(seed), ".new-")
	if err != nil {
		return err
	}
	if err := copyTree(ctx, datadir, temporary); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	if err := os.Rename(temporary, seed); err != nil && !isDir(seed) {
		return err
	} else if err != nil {
		return os.RemoveAll(temporary)
	}
	return nil
}

func copyTree(ctx context.Context, from, to string) error {
	_, err := run(ctx, "cp", "-a", "--sparse=always", from+"/.", to)
	return err
}
