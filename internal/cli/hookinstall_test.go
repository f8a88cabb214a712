package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hookfiles"
)

// tryHook runs one command by itself: what it prints, and its error.
func tryHook(t *testing.T, command func(*app) *cobra.Command, asJSON bool, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := &app{json: asJSON, stdout: &out, configPath: config.DefaultPath, dirs: config.Dirs{State: t.TempDir(), Run: t.TempDir()}}
	cmd := command(a)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	if left, _ := os.ReadDir(a.dirs.State); len(left) > 0 {
		t.Errorf("%q keeps %v", args, left)
	}
	return out.String(), err
}

// The dry run is all that may be tried on the machine that runs the tests.
func TestHookInstallDryRun(t *testing.T) {
	for _, host := range strings.Split(hostNames(), ", ") {
		out, err := tryHook(t, (*app).hookInstall, true, host, "--dry-run")
		var told struct {
			Host     string             `json:"host"`
			DryRun   bool               `json:"dry_run"`
			Changes  []hookfiles.Change `json:"changes"`
			Register []string           `json:"register"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &told)
		}
		if err != nil || told.Host != host || !told.DryRun || len(told.Changes) == 0 || told.Changes[0].Owner != "root:root" {
			t.Errorf("%s: %v: %s", host, err, out)
		}
		text, err := tryHook(t, (*app).hookInstall, false, host, "--dry-run")
		if err != nil || !strings.Contains(text, "Would be done") || !strings.Contains(text, "hook "+host) {
			t.Errorf("%s: %v: %s", host, err, text)
		}
	}
}

func TestHookUninstallOfNothing(t *testing.T) {
	out, err := tryHook(t, (*app).hookUninstall, false, "azure", "--dry-run")
	if err != nil || !strings.Contains(out, "nothing: no file") {
		t.Error(err, out)
	}
}

func TestHookInstallOfNobody(t *testing.T) {
	for _, command := range []func(*app) *cobra.Command{(*app).hookInstall, (*app).hookUninstall} {
		if _, err := tryHook(t, command, false, "hyperv"); exitCode(err) != codeUsage || !strings.Contains(hintOf(err), "azure") {
			t.Error(err)
		}
	}
}
