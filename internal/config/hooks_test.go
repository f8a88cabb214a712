package config

import (
	"strings"
	"testing"
)

func TestHooks(t *testing.T) {
	const instances = "instances:\n  shop:\n  other:\n"
	c, err := load(t, instances+"hooks:\n  azure: {instances: [other]}\n  qemu: {hold: 5s}\n")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"azure": 1, "qemu": 2, "gcp": 2} {
		if held := c.Held(host); len(held) != want {
			t.Errorf("%s holds %d", host, len(held))
		}
	}
	for names, want := range map[string]string{
		"shop, none": `line 5: hook azure: there is no instance "none"`,
		"shop, shop": `line 5: hook azure: the instance "shop" is named twice`,
	} {
		if _, err := load(t, instances+"hooks:\n  azure: {instances: ["+names+"]}\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", names, err)
		}
	}
}
