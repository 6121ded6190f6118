package demo

import (
	"fmt"
	"io"
	"strings"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
)

// Summary writes what came of a demo and what to try next. program is how
// lakeload is called here.
func (r *Result) Summary(w io.Writer, program string) error {
	var rows int64
	for _, t := range r.Tables {
		rows += t.LakeRows
	}
	lake := r.Lake
	f := r.Freshness
	_, err := fmt.Fprintf(w, `
  %[1]s rows in %[2]d tables are equal after %[3]s changes in %[4]s transactions, one of them of %[5]s rows; %[6]s epochs.
  A change was visible in the lake %[7]s after its commit (median; 99 of 100 within %[8]s, those behind the
  large transaction included; %[9]s samples by an outside poller); over the crash it took %[10]s at most.

  The lake is in %[11]s

  Look at it:
    duckdb -c "INSTALL delta; LOAD delta; SELECT status, count(*) FROM delta_scan('%[11]s/public/orders') GROUP BY ALL"
    spark-sql --packages io.delta:delta-spark_4.1_2.13:4.4.0 --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
      --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
      -e "SELECT status, count(*) FROM delta.%[12]s GROUP BY 1"
    %[13]s tables --lake %[14]s
    %[13]s epochs --lake %[14]s --last 5
    %[13]s cat public.orders --lake %[14]s --epoch 2 --limit 5
    %[13]s history public.orders --lake %[14]s

  Your own database, read-only:
    %[13]s check --source postgres://user@host/database
`, human.Count(rows), len(r.Tables), human.Count(r.Changes), human.Count(r.Transactions), human.Count(r.BigRows), human.Count(r.Epochs),
		human.Seconds(f.P50), human.Seconds(f.P99), human.Count(int64(f.Samples)), human.Seconds(f.OverCrash),
		lake, "\\`"+lake+"/public/orders\\`", program, quoted(lake))
	return err
}

// quoted makes one word of a path for a shell.
func quoted(s string) string {
	if !strings.ContainsAny(s, " '\"\\$&;()*?[]<>|`!#~") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
