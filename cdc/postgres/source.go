// Package postgres is the [cdc.Source] that reads a PostgreSQL server, 14 or
// newer: logical replication by pgoutput, initial copies by binary COPY under
// the slot's exported snapshot, and a preflight that changes nothing.
package postgres

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/time/rate"

	"github.com/lakeload/lakeload/cdc"
)

// Source reads one PostgreSQL database. It implements [cdc.Source] and
// [cdc.Checker]; make it with [Open].
type Source struct {
	config    Config
	connector *connector
	admin     *admin
	primary   *admin // of a standby's primary; nil: none is named
	selector  *selector
	types     *typeCache
	resolver  *resolver
	keys      *keyPool
	limiter   *rate.Limiter // of what is copied; nil: there is no limit
	log       *slog.Logger
	mem       memory.Allocator

	// textOnly is set once a table has turned up in a binary stream that can
	// be read as text only; streams from then on ask for text.
	textOnly atomic.Bool
	// pressure has the transactions for which the spool had no room.
	pressure pressure
	stats    streamStats
	streamed atomic.Bool // a stream has been opened: the slot was ours
	trouble  trouble

	mu   sync.Mutex // guards host
	host cdc.Identity

	closeOnce sync.Once
}

var (
	_ cdc.Source   = (*Source)(nil)
	_ cdc.Checker  = (*Source)(nil)
	_ cdc.Claimer  = (*Source)(nil)
	_ cdc.Hosted   = (*Source)(nil)
	_ cdc.Measured = (*Source)(nil)
)

// Open checks the configuration and reaches the server once, so that what is
// wrong with the address, the password or the database's name is said here.
// It changes nothing on the server.
func Open(ctx context.Context, config Config) (*Source, error) {
	s, err := newSource(config)
	if err != nil {
		return nil, err
	}
	if err := s.admin.with(ctx, func(*pgconn.PgConn) error { return nil }); err != nil {
		return nil, err
	}
	return s, nil
}

func newSource(config Config) (*Source, error) {
	const op = "reading the source's configuration"
	if err := config.validate(); err != nil {
		return nil, refused(op, "", "", err)
	}
	if config.Connections == 0 {
		config.Connections = defaultConnections
	}
	s := &Source{config: config, log: config.Logger, mem: config.Allocator, types: &typeCache{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.mem == nil {
		s.mem = memory.DefaultAllocator
	}
	var err error
	if s.selector, err = newSelector(&s.config); err != nil {
		return nil, refused(op, "", "", err)
	}
	if s.connector, err = newConnector(&s.config, s.config.DSN, s.log); err != nil {
		return nil, err
	}
	s.admin, s.keys = newAdmin(s.connector), newKeyPool(config.Connections)
	if config.CopyRate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(config.CopyRate), int(min(config.CopyRate, limitedPiece)))
	}
	if s.config.PrimaryDSN != "" {
		c, err := newConnector(&s.config, s.config.PrimaryDSN, s.log)
		if err != nil {
			return nil, err
		}
		s.primary = newAdmin(c)
	}
	s.resolver = &resolver{admin: s.admin, types: s.types, selector: s.selector, narrowed: s.config.readNarrowed}
	if s.resolver.policies, err = newTypePolicies(config.Types); err != nil {
		return nil, refused(op, "", "", err)
	}
	return s, nil
}

// Identify implements [cdc.Source], over the replication protocol: it also
// shows that this user may use it. The timeline that it tells is the one that
// later connections are held to.
func (s *Source) Identify(ctx context.Context) (cdc.Identity, error) {
	s.connector.forgetTimeline()
	conn, err := s.connector.connect(ctx, connWalsender)
	if err != nil {
		return cdc.Identity{}, err
	}
	defer closeConn(conn)
	// What was asked before may have been of another server.
	return serverOf(conn).Identity, s.admin.reset(ctx)
}

// Host implements [cdc.Hosted].
func (s *Source) Host() cdc.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.host
}

// Tables implements [cdc.Source]. A table without a usable identity is in the
// list, with InsertOnly set, whatever the policy says; Publish heeds that.
func (s *Source) Tables(ctx context.Context) ([]*cdc.Relation, error) {
	var rels []*cdc.Relation
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		rels = nil
		var infos []*tableInfo
		err := inOneView(ctx, conn, func() error {
			sel, err := s.selector.find(ctx, conn)
			if err != nil {
				return err
			}
			infos, err = s.describeTables(ctx, conn, sel.oids())
			return err
		})
		for _, t := range infos {
			rels = append(rels, t.rel)
			s.resolver.remember(t.rel)
		}
		return err
	})
	if err != nil {
		return nil, failed("listing the source's tables", s.connector.address(), err)
	}
	return rels, nil
}

// describeTables reads the tables' present shapes.
func (s *Source) describeTables(ctx context.Context, conn *pgconn.PgConn, oids []uint32) ([]*tableInfo, error) {
	shapes, narrowed, err := readAsPublished(ctx, conn, oids, s.config.readNarrowed)
	if err != nil {
		return nil, err
	}
	types, err := s.types.resolve(ctx, conn, columnTypeOIDs(shapes))
	if err != nil {
		return nil, err
	}
	infos := make([]*tableInfo, len(shapes))
	for i, sh := range shapes {
		infos[i] = sh.relation(types, s.resolver.policies)
		infos[i].filter = narrowed[sh.oid].filter
	}
	return infos, nil
}

// Close implements [cdc.Source].
func (s *Source) Close() error {
	s.closeOnce.Do(func() {
		s.keys.close()
		s.admin.close()
		if s.primary != nil {
			s.primary.close()
		}
	})
	return nil
}
