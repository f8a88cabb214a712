package scripts

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// scene is an application with scripts, in a directory of its own. The scripts write what they do into one file.
type scene struct {
	t      *testing.T
	dir    string
	config map[string]any
	log    bytes.Buffer
	host   string // path of a host's configuration, if there is one
}

const scriptMode = 0o700

func newScene(t *testing.T) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: scripts must belong to root")
	}
	s := &scene{t: t, dir: t.TempDir()}
	s.must(os.MkdirAll(s.path("run"), 0o700))
	s.must(os.MkdirAll(s.path("data"), 0o700))
	s.config = map[string]any{"pluginName": "ScriptRunner", "timeoutInSeconds": 20}
	s.pre(`echo pre "$@" >> did`)
	s.post(`echo post "$@" >> did`)
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// write makes a script that runs in the scene's directory, if it is one of a shell.
func (s *scene) write(name, text string) string {
	s.t.Helper()
	shebang := ""
	if strings.HasPrefix(text, "#!") {
		shebang, text, _ = strings.Cut(text, "\n")
		shebang += "\n"
	}
	if !strings.Contains(shebang, "python") {
		text = "cd " + s.dir + "\n" + text
	}
	s.must(os.WriteFile(s.path(name), []byte(shebang+text+"\n"), scriptMode))
	return s.path(name)
}

func (s *scene) pre(text string)  { s.config["preScriptLocation"] = s.write("pre.sh", text) }
func (s *scene) post(text string) { s.config["postScriptLocation"] = s.write("post.sh", text) }

func (s *scene) plugin(name string) string {
	s.t.Helper()
	content, err := json.Marshal(s.config)
	s.must(err)
	s.must(os.WriteFile(s.path(name), content, 0o600))
	return s.path(name)
}

func (s *scene) server() *Server {
	s.t.Helper()
	spec := Spec{Paths: []string{s.path("data")}, RunDir: s.path("run"), BackupConfig: s.path("vmbackup.conf"), HostConfig: s.host}
	if _, err := os.Stat(spec.BackupConfig); err != nil {
		s.must(os.WriteFile(spec.BackupConfig, nil, 0o644))
	}
	if s.host == "" {
		spec.PluginConfig = s.plugin("plugin.json")
	}
	return Open(spec, slog.New(slog.NewTextHandler(&s.log, nil)))
}

func (s *scene) facts() *database.Scripted {
	s.t.Helper()
	f, err := s.server().Facts(s.t.Context())
	s.must(err)
	return f.Scripts
}

// cycle is one hold: act, what happens meanwhile, undo.
type cycle struct {
	act, undo error
	database.Report
	did  string // what the scripts wrote
	took time.Duration
}

func (s *scene) cycle(meanwhile ...func()) cycle {
	s.t.Helper()
	h, err := s.server().NewHold(s.t.Context())
	s.must(err)
	defer h.Close()
	step := h.Step(database.Within(time.Second))
	begun := time.Now()
	c := cycle{}
	_, c.act = step.Act(s.t.Context())
	for _, do := range meanwhile {
		do()
	}
	c.undo = step.Undo(s.t.Context())
	c.took = time.Since(begun)
	c.Report = h.(database.Reporter).Report()
	c.did = s.did()
	return c
}

// did is what the scripts wrote, and forgets it.
func (s *scene) did() string {
	content, err := os.ReadFile(s.path("did"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	_ = os.Remove(s.path("did"))
	return strings.ReplaceAll(strings.TrimSpace(string(content)), "\n", "; ")
}

// well wants a cycle without a fault that did this.
func (c cycle) well(t *testing.T, did string) {
	t.Helper()
	if c.act != nil || c.undo != nil || c.Unheld != nil {
		t.Errorf("act %v, undo %v, unheld %v", c.act, c.undo, c.Unheld)
	}
	if c.did != did {
		t.Errorf("did %q, not %q", c.did, did)
	}
	for _, run := range c.Scripts {
		if run.Code != 0 || run.Exit != 0 || run.Tries < 1 || run.MS <= 0 {
			t.Errorf("%+v", run)
		}
	}
}

// failed wants a run of that phase with that code, and the code in the text.
func (c cycle) failed(t *testing.T, phase string, code int, err error) {
	t.Helper()
	for _, run := range c.Scripts {
		if run.Phase == phase && run.Code == code {
			if err == nil || !strings.Contains(err.Error(), "code ") || !strings.Contains(run.Said, "code ") {
				t.Errorf("no code in %v, or in %q", err, run.Said)
			}
			return
		}
	}
	t.Errorf("no %s with the code %d in %+v (%v)", phase, code, c.Scripts, err)
}

// left wants nothing in the run directory.
func (s *scene) nothingLeft() {
	s.t.Helper()
	entries, err := os.ReadDir(s.path("run"))
	s.must(err)
	if len(entries) > 0 {
		s.t.Errorf("left: %v", entries)
	}
}

// later takes a deed back as another process would.
func (s *scene) later(step undo.Step[database.Position]) error {
	return Undoer(s.t.Context(), step.Deed)
}
