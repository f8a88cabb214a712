package aws

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/hooktest"
)

const execution = "0f3e7a52-99aa-4bcd-8e21-7a1c2b3d4e5f"

func TestContract(t *testing.T) {
	id := map[string]string{"execution_id": execution}
	hooktest.Run(t, New(), hooktest.Spec{
		Name: "aws", Limits: 10 * time.Second,
		Terms: hook.Terms{Limit: 9 * time.Second, Hold: 60 * time.Second, Freeze: true},
		Calls: []hooktest.Call{
			{Args: []string{"pre-script", execution}, Want: hook.Call{Verb: hook.Pre, Details: id}},
			{Args: []string{"post-script", execution}, Want: hook.Call{Verb: hook.Post, Details: id}},
			{Args: []string{"dry-run", execution}, Want: hook.Call{Verb: hook.Probe, Details: id}},
			{Args: []string{"dry-run", "None"}, Want: hook.Call{Verb: hook.Probe}},
			{Args: []string{"pre-script"}, Want: hook.Call{Verb: hook.Pre}},
		},
		Refuses: [][]string{{"pre"}, {"post"}, {"pre-script", execution, "more"}},
		Codes: map[hook.Verb]map[hook.Outcome]int{
			hook.Pre:   {hook.Held: 0, hook.NotReady: 206, hook.TimedOut: 201, hook.Failed: 201, hook.Already: 204, hook.Aborted: 201},
			hook.Post:  {hook.Released: 0, hook.Lost: 202, hook.Expired: 203, hook.NoHold: 205, hook.Refused: 205, hook.Failed: 202, hook.Aborted: 202},
			hook.Probe: {hook.Held: 0, hook.NotReady: 0, hook.Failed: 0},
		},
	})
}

func TestDocument(t *testing.T) {
	site := hooktest.Site(fstest.MapFS{})
	site.Config = "/etc/my config.yaml"
	files, err := New().Files(site)
	if err != nil || len(files) != 1 || !strings.Contains(files[0].Register, "Key=DLMScriptsAccess,Value=true") {
		t.Fatal(files, err)
	}
	var d document
	if err := json.Unmarshal(files[0].Content, &d); err != nil {
		t.Fatal(err)
	}
	id, command := d.Parameters["executionId"], d.Parameters["command"]
	if d.SchemaVersion != "2.2" || d.MainSteps[0].Action != "aws:runShellScript" || command.Default != "dry-run" || !slices.Equal(command.AllowedValues, []string{"pre-script", "post-script", "dry-run"}) {
		t.Errorf("%s", files[0].Content)
	}
	pattern := regexp.MustCompile(id.AllowedPattern)
	for value, allowed := range map[string]bool{execution: true, id.Default: true, "": false, "x' ; reboot; '": false, execution + "\n": false} {
		if pattern.MatchString(value) != allowed {
			t.Errorf("%q is allowed: %t", value, !allowed)
		}
	}
	lines := d.MainSteps[0].Inputs["runCommand"]
	if last := lines[len(lines)-1]; last != "exec /usr/local/sbin/holdstill --config '/etc/my config.yaml' hook aws '{{ command }}' '{{ executionId }}'" {
		t.Error(last)
	}
}
