package lakehouse_test

import (
	"context"
	"fmt"
	"log"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// shopOrders is a source with one table: any implementation of cdc.Source does, that of
// PostgreSQL is in package cdc/postgres.
func shopOrders() (*cdctest.World, error) {
	w := cdctest.NewWorld(cdctest.Options{Seed: 1})
	_, err := w.CreateTable(cdctest.TableSpec{Name: "orders", Key: []string{"id"}, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("status")}})
	if err == nil {
		_, err = w.Commit(func(tx *cdctest.Tx) error {
			return tx.Insert("orders", cdctest.Row{"id": 1, "status": "new"})
		})
	}
	return w, err
}

// A lake is brought up to date and read: the engine copies what there is, then
// follows, here until it has everything.
func Example() {
	ctx := context.Background()
	source, err := shopOrders()
	if err != nil {
		log.Fatal(err)
	}
	store := objstore.NewMemory() // or objstore.NewLocal("./lake")
	engine, err := lakehouse.Open(ctx, lakehouse.Options{
		Source: source.Source(), Lake: store, Slot: "shop", Publication: "shop", UntilCurrent: true,
		Events: lakehouse.Events{
			CopyFinished: func(e lakehouse.CopyFinished) { fmt.Println("copied", e.Table, "with", e.Rows, "row") },
		},
	})
	if err != nil {
		log.Fatal(err) // a *lakehouse.Error: what was being done, to what, why it failed, what to do
	}
	if err := engine.Run(ctx); err != nil {
		log.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		log.Fatal(err)
	}

	lake, err := lakehouse.OpenLake(ctx, store, "")
	if err != nil {
		log.Fatal(err)
	}
	table, err := lake.Table("public.orders")
	if err != nil {
		log.Fatal(err)
	}
	snap, _, err := lake.Load(ctx, table, lakehouse.At{})
	if err != nil {
		log.Fatal(err)
	}
	err = snap.Scan(ctx, tablefmt.ScanOptions{}, func(rows arrow.RecordBatch) error {
		for i := range int(rows.NumRows()) {
			fmt.Println(rows.Column(0).ValueStr(i), rows.Column(1).ValueStr(i))
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// copied public.orders with 1 row
	// 1 new
}

// An engine that runs is asked and told from other goroutines.
func ExampleEngine_Act() {
	source, err := shopOrders()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	streaming, ended := make(chan struct{}), make(chan error, 1)
	engine, err := lakehouse.Open(ctx, lakehouse.Options{
		Source: source.Source(), Lake: objstore.NewMemory(), Slot: "shop", Publication: "shop",
		Events: lakehouse.Events{StreamStarted: func(lakehouse.StreamStarted) { close(streaming) }},
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() { ended <- engine.Run(ctx) }()
	<-streaming
	if _, err := engine.Act(ctx, "public.orders", lakehouse.ActionPause); err != nil {
		log.Fatal(err)
	}
	for _, t := range engine.Status().Tables {
		fmt.Println(t.Name(), "is", t.Phase)
	}
	stop() // what has come is flushed, then Run returns
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: public.orders is paused
}

// How a table is kept is said table by table.
func ExampleOptions_table() {
	options := lakehouse.Options{Table: func(rel *cdc.Relation) (o lakehouse.TableOptions) {
		if rel.Name == "orders" {
			o.Modes = []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror}
			o.PartitionBy = []string{"month(created_at)"}
			o.Delete = lakehouse.DeleteSoft
		}
		return o
	}}
	fmt.Println(options.Table(&cdc.Relation{Schema: "public", Name: "orders"}).Modes)
	// Output: [changelog mirror]
}
