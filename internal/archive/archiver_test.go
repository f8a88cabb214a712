package archive

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// What is archived is the server's files, byte for byte, whatever is in them, and however one logs in.
func TestEqualToTheServer(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		stop := s.start(s.options(account(t, s.Server)))
		w, err := s.Write(t.Context(), lab.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.load()
			s.sql("FLUSH LOGS")
			time.Sleep(300 * time.Millisecond)
		}
		s.load()
		w.Stop()
		s.await()
		s.whole()
		stop()
		s.whole()
		s.sql("CREATE DATABASE later", "FLUSH LOGS", "CREATE DATABASE evenlater")
		s.once()
		s.await()
		s.whole()
		s.once()
		s.whole()
	})
}

// What has arrived is there half a second later: Size tells of nothing that is not synced.
func TestLag(t *testing.T) {
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t, build)
	s.start(s.options())
	s.await()
	var took []time.Duration
	for range 11 {
		s.sql("CREATE DATABASE d", "DROP DATABASE d")
		begun := time.Now()
		s.await()
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	if took[5] > time.Second { // the disk of a busy machine may take longer now and then
		t.Errorf("it was archived so long after the commits: %s", took)
	}
}

// kills are those of each product.
const kills = 17

// An archiver that is killed goes on exactly where it ended: nothing is missing and nothing is there twice.
func TestKilled(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build, "max-binlog-size=1M")
		w, err := s.Write(t.Context(), lab.WriterOptions{Workers: 3, Pause: 2 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		n := 0
		for ; n < kills && time.Since(begun) < time.Minute; n++ {
			cmd := s.process()
			if n%5 == 4 {
				s.sql("FLUSH LOGS")
			}
			if n%7 == 3 {
				s.load()
			}
			time.Sleep(time.Duration(50+rand.IntN(1200)) * time.Millisecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			s.logs() // what is left can be read
		}
		t.Logf("killed %d times in %s", n, time.Since(begun))
		acked := len(w.Stop().Acked)
		stop := s.start(s.options())
		s.await()
		stop()
		s.whole()
		logs := s.logs()
		t.Logf("%d commits, %d logs", acked, len(logs))
	})
}

// A server that dies, or restarts, or is away, leaves no gap.
func TestServerKilled(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		s.start(s.options())
		w, err := s.Write(t.Context(), lab.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, end := range []func() error{s.Kill, func() error { return s.Stop(t.Context()) }, s.Kill} {
			time.Sleep(500 * time.Millisecond)
			if err := end(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(500 * time.Millisecond)
		w.Stop()
		s.await()
		s.whole()
	})
}

// A reset is a gap, whether the archiver saw it or not, and even if the new log is longer than the archived one.
func TestReset(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		stop := s.start(s.options())
		s.load()
		s.await()
		before := s.logs()
		pause := func() { time.Sleep(1100 * time.Millisecond) } // two logs that begin in one second are told apart by what comes later only
		pause()
		s.sql(s.reset(), "CREATE DATABASE seen")
		s.await()
		stop()
		pause()
		s.sql(s.reset())
		for range 3 {
			s.load()
		}
		s.once()
		logs := s.logs()[len(before):]
		if len(logs) != 2 || logs[0].Gap == nil || logs[1].Gap == nil {
			t.Fatalf("archived are %+v", logs)
		}
		for _, l := range logs {
			if !strings.Contains(l.Gap.Reason, "reset") || l.Gap.From == "" || l.Gap.To != l.Name+":4" || l.Gap.FoundAt.IsZero() {
				t.Errorf("the gap is %+v", l.Gap)
			}
		}
		s.equal(logs[1:])
		if c := Coverage(s.logs()); len(c) != 3 || c[2].Gap == nil {
			t.Errorf("covered is %+v", c)
		}
	})
}

// Two resets in one second make logs that begin alike. Their later events tell.
func TestResetTwice(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		s.sql(s.reset(), "CREATE DATABASE one")
		s.once()
		s.sql(s.reset(), "CREATE DATABASE two", "CREATE DATABASE three")
		s.once()
		s.await()
		logs := s.logs()
		if len(logs) != 2 || logs[1].Gap == nil {
			t.Fatalf("archived are %+v", logs)
		}
		s.equal(logs[1:])
	})
}

// Logs that were purged before they were read are a gap that names what is missing; those that were archived are none.
func TestPurged(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		s.load()
		s.once()
		if build.Product == lab.MySQL { // closed and archived, then purged
			s.sql("FLUSH LOGS")
		} else {
			s.sql("FLUSH BINARY LOGS")
		}
		s.once()
		s.sql("FLUSH LOGS", "PURGE BINARY LOGS TO '"+s.end().file+"'")
		s.once()
		for _, l := range s.logs() {
			if l.Gap != nil {
				t.Errorf("before %s there is a gap: %+v", l.Name, l.Gap)
			}
		}
		s.load()
		s.sql("FLUSH LOGS")
		s.load()
		s.sql("FLUSH LOGS", "PURGE BINARY LOGS TO '"+s.end().file+"'")
		s.once()
		logs := s.logs()
		var gaps []*Gap
		for _, l := range logs {
			if l.Gap != nil {
				gaps = append(gaps, l.Gap)
			}
		}
		if len(gaps) != 1 || !strings.Contains(gaps[0].Reason, "purged") || gaps[0].GTIDs == "" {
			t.Fatalf("the gaps are %+v", gaps)
		}
		s.equal(logs[len(logs)-1:])
	})
}
