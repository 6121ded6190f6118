// Package compaction rearranges the files of a Delta table without changing
// its rows. It decides in a plan, a value that can be printed and tested, and
// carries the plan out apart from that.
//
// Now it packs small files together ([PlanPack], [Pack]), which keeps the
// engine's own records small; the tables' upkeep is to come.
package compaction
