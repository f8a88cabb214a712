package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScriptPermissions breaks one thing at a time: the script is not run, its plugin fails with the code, and facts tell what to do.
func TestScriptPermissions(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *scene, path string)
		off   int // from 306, and 307 for the post
		words string
	}{
		"readable by all":     {func(s *scene, p string) { s.must(os.Chmod(p, 0o744)) }, 0, "0744"},
		"written to by group": {func(s *scene, p string) { s.must(os.Chmod(p, 0o720)) }, 0, "0720"},
		"setuid":              {func(s *scene, p string) { s.must(os.Chmod(p, 0o700|os.ModeSetuid)) }, 0, "4700"},
		"setgid":              {func(s *scene, p string) { s.must(os.Chmod(p, 0o700|os.ModeSetgid)) }, 0, "2700"},
		"of somebody else":    {func(s *scene, p string) { s.must(os.Chown(p, 1234, 0)) }, 0, "user 1234"},
		"a symlink":           {func(s *scene, p string) { s.must(os.Rename(p, p+".x")); s.must(os.Symlink(p+".x", p)) }, 0, "symlink"},
		"parent of all":       {func(s *scene, p string) { s.must(os.Chmod(filepath.Dir(p), 0o777)) }, 0, "0777"},
		"parent of a group":   {func(s *scene, p string) { s.must(os.Chmod(filepath.Dir(p), 0o775)) }, 0, "0775"},
		"parent of another":   {func(s *scene, p string) { s.must(os.Chown(filepath.Dir(p), 1234, 0)) }, 0, "user 1234"},
		"grandparent of all":  {func(s *scene, p string) { s.must(os.Chmod(s.path("up"), 0o777)) }, 0, "0777"},
		"behind a symlink":    {behindSymlink, 0, "0777"},
		"sticky, and another's": {func(s *scene, p string) {
			s.must(os.Chmod(s.path("up"), 0o777|os.ModeSticky))
			s.must(os.Chown(filepath.Dir(p), 1234, 0))
		}, 0, "1777"},
		"absent":      {func(s *scene, p string) { s.must(os.Remove(p)) }, -4, "does not exist"},
		"a directory": {func(s *scene, p string) { s.must(os.Remove(p)); s.must(os.Mkdir(p, 0o700)) }, -4, "is no file"},
	} {
		for i, phase := range []string{pre, post} {
			t.Run(phase+" "+name, func(t *testing.T) {
				s := newScene(t)
				path := s.path("up/own/script.sh")
				s.must(os.MkdirAll(filepath.Dir(path), 0o755))
				s.must(os.WriteFile(path, []byte("echo wrong >> "+s.path("did")), 0o700))
				s.config[phase+"ScriptLocation"] = path
				c.spoil(s, path)
				f := s.facts()
				if len(f.Lessened) != 1 || len(f.Refused) != 0 || !strings.Contains(f.Lessened[0].What, c.words) || f.Lessened[0].Remedy == "" {
					t.Errorf("%+v", f)
				}
				got := s.cycle()
				got.failed(t, pre, 306+c.off+i, got.Unheld)
				if got.did != "" || got.Scripts[0].Tries != 0 || got.Scripts[0].Exit != -1 || got.undo != nil {
					t.Errorf("did %q, %+v, undo %v", got.did, got.Scripts, got.undo)
				}
				s.config["continueBackupOnFailure"] = false
				if f := s.facts(); len(f.Refused) != 1 {
					t.Errorf("%+v", f)
				}
				s.nothingLeft()
			})
		}
	}
}

// behindSymlink makes the way to the script a symlink into a directory that others can write to.
func behindSymlink(s *scene, path string) {
	s.must(os.Mkdir(s.path("open"), 0o777))
	s.must(os.Chmod(s.path("open"), 0o777))
	s.must(os.Rename(filepath.Dir(path), s.path("open/own")))
	s.must(os.Symlink("../open/own", filepath.Dir(path)))
}

// A symlink on the way is none of the file itself; /tmp is sticky, where nobody can exchange what is root's.
func TestSafeWays(t *testing.T) {
	s := newScene(t)
	s.must(os.Mkdir(s.path("real"), 0o700))
	s.must(os.Rename(s.path("pre.sh"), s.path("real/pre.sh")))
	s.must(os.Symlink(s.path("real"), s.path("link")))
	s.config["preScriptLocation"] = s.path("link/pre.sh")
	s.must(os.Chmod(s.dir, 0o777|os.ModeSticky))
	s.cycle().well(t, "pre; post")
}

func TestConfigurationPermissions(t *testing.T) {
	for mode, fine := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o700: false, 0o640: false, 0o604: false, 0o600 | os.ModeSetuid: false} {
		s := newScene(t)
		s.plugin("a.json")
		s.writeHost("numberOfPlugins=1\npluginName0=A\npluginConfigPath0=" + s.path("a.json"))
		s.must(os.Chmod(s.path("a.json"), mode))
		if fine {
			s.cycle().well(t, "pre; post")
		} else {
			s.refused(317, "a.json")
		}
	}
	for mode, fine := range map[os.FileMode]bool{0o644: true, 0o600: true, 0o744: true, 0o664: false, 0o646: false, 0o655: false} {
		s := newScene(t)
		s.plugin("a.json")
		s.writeHost("numberOfPlugins=1\npluginName0=A\npluginConfigPath0=" + s.path("a.json"))
		s.must(os.Chmod(s.host, mode))
		if fine {
			s.cycle().well(t, "pre; post")
		} else {
			s.refused(314, "host.conf")
		}
	}
	s := newScene(t)
	s.plugin("a.json")
	s.writeHost("numberOfPlugins=1\npluginName0=A\npluginConfigPath0=" + s.path("a.json"))
	s.must(os.Chown(s.path("a.json"), 1234, 0))
	s.refused(317, "user 1234")
}

// The permission is looked at right before each run, too.
func TestChangedMeanwhile(t *testing.T) {
	s := newScene(t)
	s.pre("echo pre >> did; chmod 777 post.sh")
	c := s.cycle()
	c.failed(t, post, 307, c.undo)
	if c.did != "pre" {
		t.Errorf("did %q", c.did)
	}
}
