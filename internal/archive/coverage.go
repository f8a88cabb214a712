package archive

import "time"

// Interval is a run of logs without a gap: a replay gets from its beginning to any moment up to its end.
type Interval struct {
	Gap  *Gap      `json:"gap,omitempty"` // before it; nil: it is the first
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// The places in the servers' logs. Of several servers, those of the first and of the last.
	FromPosition string `json:"from_position"`
	ToPosition   string `json:"to_position"`
	GTIDBefore   string `json:"gtid_before"`
	GTIDAfter    string `json:"gtid_after"`
	FromSeq      int    `json:"from_seq"`
	ToSeq        int    `json:"to_seq"`
	Bytes        int64  `json:"bytes"`
}

// Coverage tells what the logs cover, in order.
func Coverage(logs []Log) []Interval {
	var out []Interval
	for i, l := range logs {
		if i == 0 || l.Gap != nil {
			out = append(out, Interval{Gap: l.Gap, From: l.First, FromPosition: position{l.Name, start}.String(), GTIDBefore: l.GTIDBefore, FromSeq: l.Seq})
		}
		c := &out[len(out)-1]
		c.To, c.ToPosition, c.GTIDAfter, c.ToSeq = l.Last, position{l.Name, l.Size}.String(), l.GTIDAfter, l.Seq
		c.Bytes += l.Size
	}
	return out
}
