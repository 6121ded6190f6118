package main

import (
	"log/slog"

	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/cmd/lakeload/metrics"
	"github.com/lakeload/lakeload/lakehouse"
)

// address is where metrics are to be served; nil: nowhere.
func (f *runFlags) address(conf *config.Config) (*metrics.Address, error) {
	text := first(f.listen, conf.Listen)
	if text == "" {
		return nil, nil
	}
	a, err := metrics.ParseAddress(text)
	if err != nil {
		return nil, usageErrorf("write it as 127.0.0.1:9187", "where to listen: %w", err)
	}
	return &a, nil
}

// display shows an engine to who asks over HTTP; nil shows it to nobody.
type display struct{ server *metrics.Server }

// show begins to answer, before anything else is touched: an address that is
// taken ends the run there.
func show(at *metrics.Address, pipeline string, log *slog.Logger) (*display, error) {
	if at == nil {
		return nil, nil
	}
	v := thisVersion()
	server, err := metrics.Listen(*at, pipeline, metrics.Build{Version: v.Version, Revision: v.Revision, Go: v.Go})
	if err != nil {
		return nil, failedf("choose another address with --listen, or `listen` in the configuration; or end what listens there", "serving metrics: %w; nothing was changed", err)
	}
	log.Info("metrics and health are served", "address", server.Addr())
	if at.Open {
		log.Warn("metrics and health can be read by everybody who reaches this address", "address", server.Addr(),
			"what_to_do", "see that the network lets nobody else reach it, or listen on 127.0.0.1")
	}
	return &display{server}, nil
}

func (d *display) engine(e *lakehouse.Engine) {
	if d != nil {
		d.server.Show(e)
	}
}

func (d *display) close() {
	if d != nil {
		_ = d.server.Close() // nobody is left to tell
	}
}
