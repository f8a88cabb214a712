package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/retain"
)

func TestRetention(t *testing.T) {
	c, err := load(t, `retention: {last: 3, hourly: 0, daily: 7, weekly: 4, monthly: 6, yearly: 1, min_age: 24h, local: 2, time_zone: Europe/Berlin}
instances:
  plain:
  bare: {retention: }
  local: {retention: {local: 1}}
  other:
    kind: scripts
    paths: [/srv]
    retention:
      last: 0
      daily: 30
      min_age: 1h
      time_zone: UTC
`)
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	whole := retain.Policy{Last: 3, Daily: 7, Weekly: 4, Monthly: 6, Yearly: 1, MinAge: 24 * time.Hour, LocalNewest: 2, Location: berlin}
	local := whole
	local.LocalNewest = 1
	other := retain.Policy{Daily: 30, Weekly: 4, Monthly: 6, Yearly: 1, MinAge: time.Hour, LocalNewest: 2, Location: time.UTC}
	for name, want := range map[string]retain.Policy{"plain": whole, "bare": whole, "unknown": whole, "local": local, "other": other} {
		if got := c.RetentionOf(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, not %+v", name, got, want)
		}
	}
}

func TestNoRetentionKeepsEverything(t *testing.T) {
	for _, text := range []string{"", "retention:\n", "retention: {}\n", "retention: {local: 2}\n", "retention: {time_zone: Asia/Tokyo}\n"} {
		c, err := load(t, text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		p := c.RetentionOf("shop")
		if p.Last+p.Hourly+p.Daily+p.Weekly+p.Monthly+p.Yearly != 0 || p.Location == nil {
			t.Errorf("%q: %+v", text, p)
		}
	}
}

func TestRetentionFaults(t *testing.T) {
	_, err := load(t, `retention:
  last: -1
  hourly: many
  daily: -2
  minutely: 7
  min_age: 7 days
  time_zone: Europe/Bärlin
instances:
  shop:
    mode: lukewarm
    retention:
      weekly: -3
      local: -4
      time_zone: Local
  other: {retention: {last: 0, daily: 0}}
  wide: {retention: {daily: 1}}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		"line 2: retention: last: -1 is less than nothing", "line 3: cannot unmarshal", "line 4: retention: daily: -2 is less than nothing",
		"line 5: field minutely not found", `line 6: "7 days" is no duration`, `line 7: retention: "Europe/Bärlin" is no time zone`,
		"line 10: instance shop:", "line 12: instance shop: retention: weekly: -3", "line 13: instance shop: retention: local: -4",
		`line 14: instance shop: retention: "Local" is no time zone`, "line 15: instance other: retention: it would keep nothing",
	}
	for _, fault := range want {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not told in:\n%v", fault, err)
		}
	}
	if told := strings.Count(err.Error(), "\n"); told != len(want) {
		t.Errorf("%d faults are told, not %d:\n%v", told, len(want), err)
	}
}

func TestAPolicyThatKeepsNothingIsRefused(t *testing.T) {
	const counts = "last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0"
	for text, want := range map[string]string{
		"retention: {" + counts + "}\n":                                                 "line 1: retention: it would keep nothing",
		"retention: {last: 0}\n":                                                        "line 1: retention: it would keep nothing",
		"retention: {min_age: 24h, local: 2}\n":                                         "line 1: retention: it would keep nothing",
		"retention: {daily: 7}\ninstances:\n  a:\n    retention: {daily: 0}\n":          "line 4: instance a: retention: it would keep nothing",
		"retention: {daily: 7}\ninstances:\n  a:\n    retention: {last: 1, daily: 0}\n": "",
		"retention: {daily: 7}\ninstances:\n  a:\n    retention: {min_age: 1h}\n":       "",
		"retention: {yearly: 1}\n":                                                      "",
	} {
		_, err := load(t, text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "\n") != 1) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
