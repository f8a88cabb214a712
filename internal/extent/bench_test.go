package extent_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdstill/holdstill/internal/extent"
)

// What comparing costs, of a file of 100 000 blocks in which each other one has moved (as many extents, nothing can be worse) or each
// 25th; s/200files is the same for 200 of them. Beside it, what reading one such file costs while it is in the cache.
func BenchmarkChanged(b *testing.B) {
	for _, fs := range []string{"btrfs", "xfs"} {
		for _, each := range []int64{2, 25} {
			was, now := fragmented(b, fs, each)
			b.Run(fmt.Sprintf("%s/each %d", fs, each), func(b *testing.B) {
				for b.Loop() {
					ranges, err := extent.Changed(was, now)
					if err != nil || int64(len(ranges)) != 100_000/each {
						b.Fatal(len(ranges), err)
					}
				}
				b.ReportMetric(200*b.Elapsed().Seconds()/float64(b.N), "s/200files")
			})
			b.Run(fmt.Sprintf("%s/each %d/read", fs, each), func(b *testing.B) {
				for b.Loop() {
					_, err := io.Copy(io.Discard, struct{ io.Reader }{io.NewSectionReader(now, 0, 100_000*page)})
					must(b, err)
				}
			})
		}
	}
}

func fragmented(b *testing.B, fs string, each int64) (was, now *os.File) {
	v := volume(b, fs, 3<<30)
	live := filepath.Join(v.Dir, "live")
	must(b, os.WriteFile(live, text(1, 100_000*page), 0o600))
	must(b, reflink(live, live+".was"))
	f := must1(b)(os.OpenFile(live, os.O_WRONLY, 0))
	for i := int64(0); i < 100_000; i += each {
		_, err := f.WriteAt(fmt.Append(nil, i), i*page)
		must(b, err)
	}
	must(b, f.Close())
	must(b, reflink(live, live+".now"))
	return open(b, live+".was"), open(b, live+".now")
}
