package config

import (
	"strings"
	"testing"
)

func TestFaultsOfDump(t *testing.T) {
	if _, err := load(t, "instances:\n  shop:\n    dump: {directory: /srv/dumps, databases: [shop, '`my.db`.t'], threads: 3, compression: zstd}\n"); err != nil {
		t.Error(err)
	}
	_, err := load(t, "instances:\n  shop:\n    dump:\n      directory: relative\n      threads: 99\n      compression: lzma\n      databases: [a.b.c, mysql]\n")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"line 4: instance shop: dump: the directory must be an absolute path", "line 5: instance shop: dump: the threads must be 1 to 64",
		"line 6: instance shop: dump: the compression must be gzip, zstd or none", "line 7: instance shop: dump: \"a.b.c\" is no name", "line 7: instance shop: dump: mysql is the server's own"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in:\n%v", want, err)
		}
	}
}

func TestLiveDump(t *testing.T) {
	for text, want := range map[string]Dump{"live": {Live: true}, "{live: true, directory: /srv}": {Live: true, Directory: "/srv"}, "{directory: /srv}": {Directory: "/srv"}, "": {}} {
		c, err := load(t, "instances:\n  shop:\n    dump: "+text+"\n")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := c.Instances["shop"].Dump; got.Live != want.Live || got.Directory != want.Directory {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for text, want := range map[string]string{
		"alive":                             `line 3: instance shop: dump: "alive" means nothing: write live`,
		"{live: true, threads: 4}":          "a live dump is one transaction",
		"{live: true, scratch_dir: /srv}":   "a live dump has no scratch server",
		"{live: true, dircetory: /srv}":     "dircetory",
		"{live: true, directory: relative}": "the directory must be an absolute path",
	} {
		if _, err := load(t, "instances:\n  shop:\n    dump: "+text+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
