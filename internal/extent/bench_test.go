package extent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/extent"
)

// What comparing costs when every other block of 100 000 has moved: the map of a file of 400 MiB, in as many extents. Reading the two
// maps of 200 such files is 200 times that. -bench . -benchtime 1x
func BenchmarkChanged(b *testing.B) {
	for _, fs := range []string{"btrfs", "xfs"} {
		b.Run(fs, func(b *testing.B) {
			v := volume(b, fs, 4<<30)
			live := filepath.Join(v.Dir, "live")
			cut := func(name string) string {
				tool(b, "cp", "--reflink=always", live, filepath.Join(v.Dir, name))
				return filepath.Join(v.Dir, name)
			}
			must(b, os.WriteFile(live, text(1, 100_000*page), 0o600))
			was := cut("was")
			f := must1(b)(os.OpenFile(live, os.O_WRONLY, 0))
			for i := int64(0); i < 100_000; i += 2 {
				_, err := f.WriteAt(fmt.Append(nil, i), i*page)
				must(b, err)
			}
			must(b, f.Close())
			now := cut("now")
			for b.Loop() {
				ranges, err := extent.Changed(open(b, was), open(b, now))
				if err != nil || len(ranges) != 50_000 {
					b.Fatal(len(ranges), err)
				}
			}
			b.ReportMetric(200*b.Elapsed().Seconds()/float64(b.N), "s/200files")
		})
	}
}
