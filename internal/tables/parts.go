package tables

import (
	"context"

	"github.com/holdstill/holdstill/internal/schema"
)

// leaf is a partition, or a subpartition where there are some: what has a file.
type leaf struct{ Partition, Sub string }

func (l leaf) name() string {
	if l.Sub != "" {
		return l.Sub
	}
	return l.Partition
}

// mark is what the names of its files have after the table's.
func (l leaf) mark() string {
	if l.Sub != "" {
		return "#P#" + l.Partition + "#SP#" + l.Sub
	}
	return "#P#" + l.Partition
}

func leaves(ctx context.Context, q schema.Querier, n schema.Name) ([]leaf, error) {
	rows, err := schema.Ask(ctx, q, "SELECT PARTITION_NAME AS part, SUBPARTITION_NAME AS sub FROM information_schema.PARTITIONS "+
		"WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND PARTITION_NAME IS NOT NULL ORDER BY PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION", n.Database, n.Table)
	var out []leaf
	for _, r := range rows {
		out = append(out, leaf{r["part"], r["sub"]})
	}
	return out, err
}

// sequence reads a sequence's own statement and the number that it would give next, without using it up.
func sequence(ctx context.Context, q schema.Querier, d *Detail) error {
	rows, err := schema.Ask(ctx, q, "SHOW CREATE SEQUENCE "+d.Table.FullName().SQL())
	if err != nil {
		return err
	}
	d.sequence = rows[0]["create table"]
	rows, err = schema.Ask(ctx, q, "SELECT next_not_cached_value AS next FROM "+d.Table.FullName().SQL())
	if err == nil {
		d.next = rows[0]["next"]
	}
	return err
}
