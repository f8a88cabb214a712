package kopia

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/kopia/kopia/repo/object"
)

// TestIndex compares our way to write and read an index with that of encoding/json.
func TestIndex(t *testing.T) {
	id := func(text string) object.ID {
		out, err := object.ParseID(text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, pieces := range [][]piece{
		{{Length: 16384, Object: id("0123456789abcdef0123456789abcdef")}},
		{{Length: 16384, Object: id("0123456789abcdef0123456789abcdef")}, {Start: 16384, Length: 5, Object: id("Ixfedcba9876543210fedcba9876543210")},
			{Start: 1 << 50, Length: 1 << 40, Object: id("IIxfedcba9876543210fedcba9876543210")}},
	} {
		want, err := json.Marshal(index{"kopia:indirect", pieces})
		if err != nil {
			t.Fatal(err)
		}
		if got := indexOf(pieces); string(got) != string(want) {
			t.Errorf("written %s\nwant    %s", got, want)
		}
		if back, ours := (&scanner{want}).entries(); !ours || !slices.Equal(back, pieces) {
			t.Errorf("%s is read as %v", want, back)
		}
		spaced, _ := json.MarshalIndent(index{"kopia:indirect", pieces}, "", " ")
		if back, err := entries(spaced); err != nil || !slices.Equal(back, pieces) {
			t.Errorf("%s is read as %v, %v", spaced, back, err)
		}
		for n := range want {
			if back, err := entries(want[:n]); err == nil {
				t.Errorf("%s, cut off, is read as %v", want[:n], back)
			}
		}
	}
	if back, err := entries([]byte(`{"stream":"kopia:indirect","entries":[]}`)); err != nil || len(back) != 0 {
		t.Errorf("nothing is read as %v, %v", back, err)
	}
}
