package azure

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/hooktest"
)

func TestContract(t *testing.T) {
	hooktest.Run(t, New(), hooktest.Spec{
		Name: "azure", Limits: 30 * time.Second,
		Terms: hook.Terms{Limit: 25 * time.Second, Hold: 90 * time.Second, Renew: true},
		Calls: []hooktest.Call{
			{Args: []string{"pre"}, Want: hook.Call{Verb: hook.Pre}},
			{Args: []string{"post"}, Want: hook.Call{Verb: hook.Post}},
			{Args: []string{"pre", "-x", "", "y z"}, Want: hook.Call{Verb: hook.Pre, Details: map[string]string{"parameters": "-x  y z"}}},
		},
		Refuses: [][]string{{"abort"}, {"probe"}, {"freeze"}},
		Codes: map[hook.Verb]map[hook.Outcome]int{
			hook.Pre:  {hook.Held: 0, hook.NotReady: 1, hook.TimedOut: 1, hook.Failed: 1, hook.Already: 1, hook.Aborted: 1},
			hook.Post: {hook.Released: 0, hook.Lost: 1, hook.Expired: 1, hook.NoHold: 1, hook.Refused: 0, hook.Failed: 1, hook.Aborted: 1},
		},
	})
}

// config is the configuration as the host reads it.
func config(t *testing.T, present string) (map[string]any, hook.File) {
	t.Helper()
	machine := fstest.MapFS{}
	if present != "" {
		machine[configPath[1:]] = &fstest.MapFile{Data: []byte(present), Mode: 0o644}
	}
	files, err := New().Files(hooktest.Site(machine))
	if err != nil {
		t.Fatal(err)
	}
	f := files[len(files)-1]
	if f.Path != configPath || f.Mode != 0o600 {
		t.Fatalf("%s %04o comes last", f.Path, f.Mode)
	}
	out := map[string]any{}
	if err := json.Unmarshal(f.Content, &out); err != nil {
		t.Fatal(err)
	}
	if out["preScriptLocation"] != prePath || out["postScriptLocation"] != postPath || out["fsFreezeEnabled"] != true {
		t.Errorf("%s", f.Content)
	}
	return out, f
}

func TestConfigOnAFreshMachine(t *testing.T) {
	_, f := config(t, "")
	want := `{
  "pluginName": "ScriptRunner",
  "preScriptLocation": "/etc/azure/holdstill-pre.sh",
  "postScriptLocation": "/etc/azure/holdstill-post.sh",
  "preScriptParams": [],
  "postScriptParams": [],
  "preScriptNoOfRetries": 0,
  "postScriptNoOfRetries": 0,
  "timeoutInSeconds": 60,
  "continueBackupOnFailure": true,
  "fsFreezeEnabled": true
}
`
	if string(f.Content) != want || f.Register != "" {
		t.Errorf("%s\n%s", f.Content, f.Register)
	}
}

func TestConfigKeepsWhatAPersonChose(t *testing.T) {
	out, f := config(t, `{"preScriptLocation":"/opt/pre.sh","postScriptLocation":"","preScriptParams":["a"],"timeoutInSeconds":30,
		"continueBackupOnFailure":false,"fsFreezeEnabled":false,"appName":"shop","preScriptNoOfRetries":"many"}`)
	if out["continueBackupOnFailure"] != false || out["appName"] != "shop" || out["timeoutInSeconds"] != 60.0 || out["preScriptNoOfRetries"] != 0.0 || len(out["preScriptParams"].([]any)) > 0 {
		t.Errorf("%s", f.Content)
	}
	if !strings.Contains(f.Register, "/opt/pre.sh") {
		t.Error(f.Register)
	}
	ours := `{"timeoutInSeconds":300,  "continueBackupOnFailure":false,"fsFreezeEnabled":true,"preScriptLocation":"` + prePath + `","postScriptLocation":"` + postPath +
		`","preScriptParams":["a"],"postScriptParams":[],"preScriptNoOfRetries":1,"postScriptNoOfRetries":0,"pluginName":"x"}`
	if _, f := config(t, ours); string(f.Content) != ours || f.Register != "" {
		t.Errorf("one that is right already is written again: %s", f.Content)
	}
}

func TestConfigThatCannotBeReadIsReplaced(t *testing.T) {
	for _, present := range []string{"{", "[]", "null", "no"} {
		config(t, present)
	}
}
