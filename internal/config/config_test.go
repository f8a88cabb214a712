package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdstill.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "instances:\n  shop:\n    socket: /run/s.sock\n    max_stall: 500ms\n  other:\n")
	if err != nil {
		t.Fatal(err)
	}
	shop, other := c.Instances["shop"], c.Instances["other"]
	if shop.Mode != database.Auto || time.Duration(shop.MaxStall) != 500*time.Millisecond || shop.Name != "shop" {
		t.Fatalf("%+v", shop)
	}
	if time.Duration(other.MaxStall) != DefaultMaxStall {
		t.Fatalf("%+v", other)
	}
}

func TestAllFaultsAtOnceWithLines(t *testing.T) {
	_, err := load(t, `instances:
  shop:
    mod: hot
    max_stall: soon
  "bad name":
    mode: lukewarm
    socket: relative.sock
    service: {start: a}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"line 3: field mod not found", `line 4: "soon" is no duration`, "line 5: instance bad name: the name",
		`line 6: instance bad name: "lukewarm" is no mode`, "line 7", "line 8: instance bad name: start and stop are a pair"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in:\n%v", want, err)
		}
	}
}

func TestOthersMayNotWriteIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdstill.yaml")
	if err := os.WriteFile(path, []byte("instances: {}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Fatalf("error %v", err)
	}
}

func TestSecretsMayNotBeReadByOthers(t *testing.T) {
	client := filepath.Join(t.TempDir(), "client.cnf")
	if err := os.WriteFile(client, []byte("[client]\npassword=x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, "instances:\n  shop:\n    client_option_file: "+client+"\n")
	if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "chmod go-rwx") {
		t.Fatalf("error %v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	if _, err := load(t, ""); err != nil {
		t.Fatal(err)
	}
}
