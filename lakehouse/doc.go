// Package lakehouse is the engine: it copies the tables of a source into a
// lake and keeps them there, exactly once. It owns every goroutine of a
// running pipeline.
//
// A program embeds it in three steps: make a [cdc.Source] (package
// cdc/postgres), [Open] an [Engine] over a store, and [Engine.Run] it until
// its context ends. [OpenLake] reads what is in a lake without a source.
package lakehouse
