package repositorytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/repository"
)

// describeLog makes a description of a log that has so many bytes.
func describeLog(host, id string, size int) repository.Description {
	entry, _ := json.Marshal(map[string]any{"size": size})
	return repository.Description{Kind: repository.KindLog, Point: id, Instance: "shop", Host: host, TakenAt: At(1), Entry: entry}
}

// commitLog stores a log of which the store has base.
func commitLog(t testing.TB, s repository.Store, host, id string, data []byte, base repository.Content, was int) repository.Content {
	t.Helper()
	w, err := s.Begin(within(t), repository.Session{Kind: repository.KindLog, Instance: "shop", Host: host, Chunk: chunk})
	must(t, err)
	f := whole("binlog.000001", data)
	if f.Base = base; base != "" {
		f.Changed = []extent.Range{{Offset: int64(was), Length: int64(len(data) - was)}}
	}
	c := put(t, w, f)
	_, err = w.Commit(within(t), dir("", file("binlog.000001", c, len(data))), describeLog(host, id, len(data)))
	must(t, err)
	if n := w.Counts(); base != "" && (n.Read > int64(len(data)-was)+4*mib || n.Uploaded > int64(len(data)-was)+256*kib) {
		t.Errorf("for %d bytes more: %+v", len(data)-was, n)
	}
	must(t, w.Close(within(t)))
	return c
}

// appendLog keeps what follows on was.
func appendLog(t testing.TB, s repository.Store, host, id string, data []byte, was int) {
	t.Helper()
	must(t, s.Append(within(t), describeLog(host, id, len(data)), repository.Tail{From: int64(was), To: int64(len(data))}, data[was:]))
}

// logged reads the only log of an id as any host sees it: its description's size, and its bytes.
func logged(t testing.TB, s repository.Store, host, id string) (int, []byte) {
	t.Helper()
	logs, err := s.Logs(within(t))
	must(t, err)
	size, data := -1, []byte(nil)
	for _, l := range logs {
		if l.Host != host || l.Point != id {
			continue
		}
		var told struct{ Size int }
		must(t, errors.Join(l.Unreadable, json.Unmarshal(l.Entry, &told)))
		if size >= 0 || l.Kind != repository.KindLog || l.Instance != "shop" || !l.TakenAt.Equal(At(1)) {
			t.Errorf("a log is told as %+v", l)
		}
		size, data = told.Size, fetch(t, s, l, "binlog.000001")
		for _, tail := range l.Tails {
			more, err := s.ReadTail(within(t), l, tail)
			must(t, err)
			data = append(data[:min(int(tail.From), len(data))], more...)
		}
	}
	return size, data
}

// grows: a log is committed, appended to, and committed again, and every host sees all that is stored, once, at every moment; no point is seen of
// it, nor is it hurt by points of the same instance.
func grows(t *testing.T, s repository.Store, again func(testing.TB, string) repository.Store) {
	other := again(t, "b")
	defer func() { must(t, other.Close(context.Background())) }()
	data := Random(31, 9*mib+4321)
	want := func(when string, size int) {
		t.Helper()
		for who, store := range map[string]repository.Store{"its host": s, "another": other} {
			if told, got := logged(t, store, "a", "one"); told != size || !bytes.Equal(got, data[:size]) {
				t.Errorf("%s: %s sees a log of %d bytes that is told to have %d, and not the %d that were stored", when, who, len(got), told, size)
			}
		}
	}
	store(t, s, 1, whole("data", Random(30, mib)))
	base := commitLog(t, s, "a", "one", data[:5*mib+17], "", 0)
	want("committed", 5*mib+17)
	appendLog(t, s, "a", "one", data[:5*mib+100], 5*mib+17)
	appendLog(t, s, "a", "one", data[:6*mib], 5*mib+100)
	want("appended to", 6*mib)
	appendLog(t, s, "a", "one", data[:8*mib], 7*mib) // does not join: the one before it was lost
	want("with a hole behind it", 6*mib)
	appendLog(t, s, "a", "one", data[:6*mib], 5*mib+100) // again: nobody answered
	commitLog(t, s, "a", "one", data[:6*mib+5], base, 5*mib+17)
	want("committed again", 6*mib+5)
	commitLog(t, other, "b", "two", data[:mib], "", 0)
	want("beside another host's", 6*mib+5)
	if err := s.Append(within(t), describeLog("a", "one", 9), repository.Tail{From: 3, To: 9}, data[:5]); err == nil {
		t.Error("5 bytes were taken for 6")
	}
	appendLog(t, s, "a", "one", data[:6*mib+500], 6*mib+5)

	points, err := other.Points(within(t))
	must(t, err)
	if len(points) != 1 || points[0].Point != Describe("a", "shop", 1).Point {
		t.Errorf("points: %+v", points)
	}
	if h, err := other.Check(within(t), repository.CheckOptions{Read: 100}); err != nil || len(h.Damages) > 0 || h.Points != 1 || h.Logs != 2 {
		t.Errorf("check: %+v, %v", h, err)
	}
	if status, err := other.Status(within(t)); err != nil || status.Logs != 2 || fmt.Sprint(status.Hosts) != "[a b]" {
		t.Errorf("status: %+v, %v", status, err)
	}
	logs, err := other.Logs(within(t))
	must(t, err)
	for _, l := range logs {
		if l.Host == "a" {
			must(t, other.Remove(within(t), l))
			must(t, s.Remove(within(t), l))
		}
	}
	if size, _ := logged(t, s, "a", "one"); size >= 0 {
		t.Error("a removed log is there")
	}
	if size, _ := logged(t, s, "b", "two"); size != mib {
		t.Error("the other host's log went with it")
	}
	commitLog(t, s, "a", "one", data[:6*mib+5], "", 0) // its tails are gone, too
	want("removed, and stored again", 6*mib+5)
}
