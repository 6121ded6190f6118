package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// drain measures how fast a backlog of single inserts, a thousand a
// transaction, comes out of the slot and into a mirror, against the limit:
// the same messages read from a second slot and thrown away.
func drain(ctx context.Context, b *bench) ([]pair, error) {
	const perTransaction = 1000
	rows := int64(2_000_000 * b.scale)
	if b.server.Bin("pg_recvlogical") == "" {
		return nil, errors.New("pg_recvlogical is not on the machine: install PostgreSQL's client programs")
	}
	var pairs []pair
	for round := range b.rounds {
		dsn, err := b.database(ctx, fmt.Sprintf("drain%d", round))
		if err != nil {
			return nil, err
		}
		if err := execute(ctx, dsn, table); err != nil {
			return nil, err
		}
		lake := filepath.Join(b.dir, fmt.Sprintf("drain%d", round))
		run := []string{"run", "--source", dsn, "--lake", lake, "--all", "--slot", fmt.Sprintf("ours%d", round), "--until-current"}
		if _, err := measure(ctx, 0, b.binary, run...); err != nil {
			return nil, err
		}
		peerSlot := fmt.Sprintf("peer%d", round)
		if err := execute(ctx, dsn, fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", peerSlot)); err != nil {
			return nil, err
		}
		for at := int64(1); at <= rows; at += 50 * perTransaction {
			var s []string
			for i := at; i < min(at+50*perTransaction, rows+1); i += perTransaction {
				s = append(s, fill(i, i+perTransaction-1))
			}
			if err := execute(ctx, dsn, s...); err != nil {
				return nil, err
			}
		}
		end, err := query[string](ctx, dsn, "SELECT pg_current_wal_lsn()::text")
		if err != nil {
			return nil, err
		}
		peer, err := measure(ctx, rows, b.server.Bin("pg_recvlogical"), "-d", dsn, "-S", peerSlot, "--start", "-f", os.DevNull,
			"-o", "proto_version=1", "-o", "binary=true", "-o", "publication_names=lakeload_default", "--no-loop", "--endpos", end)
		if err != nil {
			return nil, err
		}
		ours, err := measure(ctx, rows, b.binary, run...)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{ours, peer})
		err = execute(ctx, dsn, fmt.Sprintf("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ('%s','ours%d')", peerSlot, round))
		if err != nil && !strings.Contains(err.Error(), "is active") {
			return nil, err
		}
		_ = os.RemoveAll(lake)
	}
	return pairs, nil
}
