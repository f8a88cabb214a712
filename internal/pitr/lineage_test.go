package pitr

import (
	"testing"

	"github.com/holdstill/holdstill/internal/binlog"
)

// TestHistoriesPart takes a server of MariaDB that went on with numbers which another one had given to transactions that it never got.
func TestHistoriesPart(t *testing.T) {
	var l lineage
	for _, gtid := range []string{"0-1-99", "0-1-100", "0-1-101", "1-1-7", "0-3-102", "0-1-103"} {
		l.walked(true, gtid)
	}
	for gtid, same := range map[string]bool{
		"0-1-99": true, "0-1-101": true, "0-3-102": true, "1-1-7": true, "0-1-50": true, // the last was in the point
		"0-2-101": false, "0-1-102": false, "1-2-7": false,
	} {
		if err := l.again(true, gtid); (err == nil) != same {
			t.Errorf("%s: %v", gtid, err)
		}
	}
}

// TestNeverGot takes a server of MySQL that lacks transactions of the one that was followed before.
func TestNeverGot(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4350f323-7565-4e59-8763-4b1b83a0ce0e"
	set := func(text string) *binlog.GTIDs {
		g, err := binlog.ParseGTIDs(false, text)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for last, parted := range map[string]bool{":101": false, ":100": true} {
		var l lineage
		if l.parted(false) != nil {
			t.Error("one server cannot part from itself")
		}
		l.joins(set(a+":1-99"), set(a+":1-101"))
		for _, gtid := range []string{a + ":100", a + last} {
			if err := l.again(false, gtid); err != nil {
				t.Error(err)
			}
		}
		if got := l.parted(false) != nil; got != parted {
			t.Errorf("with %s: parted %v", last, got)
		}
	}
	var l lineage
	l.joins(set(a+":1-101,"+b+":1"), set(a+":1-101"))
	if l.parted(false) != nil {
		t.Error("a server with more has all")
	}
}
