package wire

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/repository"
)

// LogShipper sends the archive of an instance's binary logs to the repository.
func LogShipper(i *config.Instance, dirs config.Dirs, open func(context.Context) (repository.Store, error), log *slog.Logger) *offsite.Shipper {
	return &offsite.Shipper{
		Dir: dirs.BinlogArchive(i), Instance: i.Name, Host: hostname.Name(), Open: open,
		Every: cmp.Or(time.Duration(i.Binlog.ShipEvery), offsite.DefaultEvery), Bytes: cmp.Or(int64(i.Binlog.ShipSize), offsite.DefaultBytes), Log: log,
	}
}
