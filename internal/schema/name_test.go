package schema

import (
	"errors"
	"strings"
	"testing"
)

func TestNamesAsTyped(t *testing.T) {
	long := strings.Repeat("ü", 64)
	for text, want := range map[string]Name{
		"shop":               {Database: "shop"},
		"shop.orders":        {"shop", "orders"},
		"shop.order items":   {"shop", "order items"},
		"`my.db`.`a``b`":     {"my.db", "a`b"},
		"shop.`2024.orders`": {"shop", "2024.orders"},
		"`shop`.orders":      {"shop", "orders"},
		"läden.日本":           {"läden", "日本"},
		long + "." + long:    {long, long},
		`shop.it's "quoted"`: {"shop", `it's "quoted"`},
	} {
		got, err := ParseName(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := ParseName(got.String()); err != nil || again != got {
			t.Errorf("%s is written as %s, which reads as %v, %v", text, got, again, err)
		}
	}
}

func TestNamesThatAreNone(t *testing.T) {
	for _, text := range []string{"", ".", "shop.", ".orders", "a.b.c", "`shop.orders", "`a`b.c", "sh`op.x", "shop.x ", "shop.``", "\xff.x", "a\x00b",
		strings.Repeat("x", 65), "shop.😀"} {
		var e *NameError
		if n, err := ParseName(text); !errors.As(err, &e) || e.Hint() == "" {
			t.Errorf("%q is read as %v, %v", text, n, err)
		}
	}
	if _, err := ParseTable("shop"); err == nil {
		t.Error("a database is taken for a table")
	}
}
