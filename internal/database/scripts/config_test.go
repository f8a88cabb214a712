package scripts

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// refused wants a fault with this code before anything is run, with a remedy.
func (s *scene) refused(code int, words string) {
	s.t.Helper()
	f := s.facts()
	if len(f.Refused) != 1 || !strings.Contains(f.Refused[0].What, fmt.Sprintf("(code %d)", code)) || f.Refused[0].Remedy == "" || !strings.Contains(f.Refused[0].What, words) {
		s.t.Errorf("%+v, want the code %d and %q", f.Refused, code, words)
	}
}

func TestPluginConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		key   string
		value any
		words string
	}{
		"a text for a truth":  {"fsFreezeEnabled", "no", "fsFreezeEnabled must be true or false"},
		"a number for one":    {"continueBackupOnFailure", 0, "continueBackupOnFailure must be true or false"},
		"a text for a number": {"timeoutInSeconds", "30", "timeoutInSeconds must be a number"},
		"no time":             {"timeoutInSeconds", 0, "timeoutInSeconds must be a number of seconds, more than 0"},
		"negative retries":    {"preScriptNoOfRetries", -1, "preScriptNoOfRetries must be a whole number"},
		"half a retry":        {"postScriptNoOfRetries", 1.5, "postScriptNoOfRetries must be a whole number"},
		"a text of params":    {"preScriptParams", "a b", "preScriptParams must be a list"},
		"params of lists":     {"postScriptParams", []any{[]any{}}, "postScriptParams must hold texts only"},
		"no pre":              {"preScriptLocation", nil, "preScriptLocation is missing"},
		"a relative post":     {"postScriptLocation", "post.sh", "postScriptLocation must be an absolute path"},
		"a number for a path": {"postScriptLocation", 7, "postScriptLocation must be a text"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.config[c.key] = c.value
			s.refused(305, c.words)
			if _, err := s.server().NewHold(t.Context()); err == nil || !strings.Contains(err.Error(), "code 305") {
				t.Errorf("a hold: %v", err)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	s := newScene(t)
	delete(s.config, "timeoutInSeconds")
	delete(s.config, "pluginName")
	s.config["somethingElse"], s.config["appName"] = []any{1}, "app"
	p := s.facts().Plugins[0]
	if p.Timeout != 10 || !p.Continue || !p.Freeze || p.Retries != [2]int{} || p.Name != "plugin" {
		t.Errorf("%+v", p)
	}
	s.config["timeoutInSeconds"] = 1e9
	if p := s.facts().Plugins[0]; p.Timeout != 1800 {
		t.Errorf("%+v", p)
	}
}

// Azure's own host takes the text "false" for true.
func TestTextForTruth(t *testing.T) {
	s := newScene(t)
	s.config["fsFreezeEnabled"], s.config["continueBackupOnFailure"] = "False", "true"
	f := s.facts()
	if p := f.Plugins[0]; p.Freeze || f.Freeze || !p.Continue || len(f.Notes) != 2 || len(f.Refused) > 0 {
		t.Errorf("%+v", f)
	}
}

func TestNoJSON(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "{} {}", "null x", `"text"`} {
		s := newScene(t)
		s.must(os.WriteFile(s.path("own.json"), []byte(text), 0o600))
		s.host = s.path("host.conf")
		s.writeHost("numberOfPlugins = 1\npluginName0 = A\npluginConfigPath0 = " + s.path("own.json"))
		s.refused(305, "own.json")
	}
}

func (s *scene) writeHost(section string) {
	s.t.Helper()
	s.host = s.path("host.conf")
	s.must(os.WriteFile(s.host, []byte("[pre_post]\n"+section+"\n"), 0o644))
}

func TestHostConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		section string
		code    int
	}{
		"no number":          {"timeoutInSeconds = 10", 304},
		"too few":            {"numberOfPlugins = 0", 304},
		"no configuration":   {"numberOfPlugins = 1\npluginName0 = A", 304},
		"no time":            {"numberOfPlugins = 1\npluginName0 = A\npluginConfigPath0 = /x\ntimeoutInSeconds = soon", 304},
		"no INI":             {"numberOfPlugins", 304},
		"no plugin":          {"numberOfPlugins = 1\npluginName0 = A\npluginConfigPath0 = /no/such.json", 316},
		"a comment in there": {"; numberOfPlugins = 1", 304},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.writeHost(c.section)
			s.refused(c.code, "")
		})
	}
	s := newScene(t)
	s.host = s.path("none.conf")
	s.refused(313, "none.conf")
}

// Several plugins run in parallel, and the host's limit caps theirs.
func TestSeveralPlugins(t *testing.T) {
	s := newScene(t)
	s.config["timeoutInSeconds"] = 60
	s.pre(`echo pre >> did; until [ -e other ]; do sleep 0.05; done`)
	s.plugin("a.json")
	s.config["fsFreezeEnabled"] = false
	s.config["preScriptLocation"] = s.write("pre-b.sh", `touch other; echo pre >> did; sleep 1000`)
	s.plugin("b.json")
	s.writeHost("TimeoutInSeconds=2\nnumberOfPlugins=2\npluginName0=ScriptRunner\npluginPath0=ScriptRunner.py\npluginConfigPath0=" + s.path("a.json") +
		"\npluginName1=ScriptRunner\npluginConfigPath1=" + s.path("b.json"))
	if f := s.facts(); f.Freeze || len(f.Plugins) != 2 || f.Plugins[0].Timeout != 2 {
		t.Errorf("%+v", f)
	}
	c := s.cycle()
	c.failed(t, pre, 310, c.Unheld)
	if c.did != "pre; pre; post; post" || c.took > 5*time.Second || len(c.Scripts) != 4 || c.Scripts[0].Code != 0 {
		t.Errorf("did %q in %v: %+v", c.did, c.took, c.Scripts)
	}
	s.nothingLeft()
}

// One plugin that insists is enough for no point.
func TestOneInsists(t *testing.T) {
	s := newScene(t)
	s.config["preScriptLocation"] = s.write("bad.sh", "exit 1")
	s.plugin("a.json")
	s.config["continueBackupOnFailure"] = false
	s.plugin("b.json")
	s.writeHost("numberOfPlugins=2\npluginName0=A\npluginConfigPath0=" + s.path("a.json") + "\npluginName1=B\npluginConfigPath1=" + s.path("b.json"))
	c := s.cycle()
	c.failed(t, pre, 300, c.act)
	if c.did != "post; post" {
		t.Errorf("did %q", c.did)
	}
}

func TestHostTimeoutOfThePost(t *testing.T) {
	s := newScene(t)
	s.post("sleep 1000")
	s.plugin("a.json")
	s.writeHost("timeoutInSeconds=1\nnumberOfPlugins=1\npluginName0=A\npluginConfigPath0=" + s.path("a.json"))
	c := s.cycle()
	c.failed(t, post, 311, c.undo)
}

func TestBackupConfiguration(t *testing.T) {
	s := newScene(t)
	write := func(text string) { s.must(os.WriteFile(s.path("vmbackup.conf"), []byte(text), 0o644)) }
	write("[SnapshotThread]\ntimeout: 45\nMountsToSkip = /mnt/a, /mnt/b,\nfsfreeze: True\n[other]\ntimeout = 1\n")
	f := s.facts()
	if f.FreezeLimit != 45*time.Second || fmt.Sprint(f.Unfrozen) != "[/mnt/a /mnt/b]" || len(f.Refused) > 0 {
		t.Errorf("%+v", f)
	}
	write("[SnapshotThread]\ntimeout = a while\n")
	s.refused(304, "a while")
	write("")
	s.must(os.Chmod(s.path("vmbackup.conf"), 0o666))
	s.refused(314, "vmbackup.conf")
}

// Parameters may be passwords: no text of ours has them.
func TestParametersAreSecret(t *testing.T) {
	s := newScene(t)
	s.config["preScriptParams"], s.config["postScriptParams"] = []any{"hush-1"}, []any{"hush-2"}
	s.pre("exit 1")
	server := s.server()
	h, err := server.NewHold(t.Context())
	s.must(err)
	s.must(h.Close())
	facts, err := server.Facts(t.Context())
	s.must(err)
	text := fmt.Sprintf("%+v %s", *facts.Scripts, h.Step(database.Budget{}).Deed.Args) + h.Step(database.Budget{}).Deed.Manual
	c := s.cycle()
	text += fmt.Sprintf("%v %+v", c.Unheld, c.Scripts) + s.log.String()
	if strings.Contains(text, "hush") {
		t.Error(text)
	}
}

// Azure's template as it is published, with nothing filled in.
func TestTemplate(t *testing.T) {
	s := newScene(t)
	s.config = map[string]any{
		"pluginName": "ScriptRunner", "preScriptLocation": "", "postScriptLocation": "", "preScriptParams": []string{"", ""}, "postScriptParams": []string{"", ""},
		"preScriptNoOfRetries": 0, "postScriptNoOfRetries": 0, "timeoutInSeconds": 30, "continueBackupOnFailure": true, "fsFreezeEnabled": true,
	}
	f := s.facts()
	if len(f.Refused) > 0 || len(f.Lessened) != 1 || !strings.Contains(f.Lessened[0].What, "(code 302)") || f.Lessened[0].Remedy == "" {
		t.Errorf("%+v", f)
	}
	c := s.cycle()
	c.failed(t, pre, 302, c.Unheld)
}
