package values

const schema = `
create type mood as enum ('sad', 'it''s "fine"', 'Ünïcode 🦆', '');
create domain price as numeric(9,3) check (value is null or value <> 13);
create domain late as timestamptz;
create type pair as (a int, b text);

create table numbers (
	id int primary key, small smallint, big bigint, flag boolean, f4 real, f8 double precision,
	dec numeric(12,3), wide numeric(38,10), whole numeric(38,0), free numeric, beyond numeric(60,5), rounded numeric(5,-2), p price, o oid);

create table texts (
	id uuid primary key, t text, v varchar(30), c char(8), nm name, one "char", m mood, j json, jb jsonb, b bytea, long text, n int);
alter table texts alter long set storage external;

create table times (
	id bigint primary key, d date, ts timestamp, tz timestamptz, l late, t time, tt timetz, iv interval, ts0 timestamp(0));

create table lists (
	a int, b text, ints int[], bigs bigint[], texts text[], deep int[][], moods mood[], nums numeric(8,2)[], days date[], net inet, block cidr, mac macaddr, bits bit(5), more varbit,
	primary key (b, a));

-- keys whose text needs care
create table keys (d date, n numeric(10,2), t timestamptz, b bytea, c char(4), v int, primary key (d, n, t, b, c));

create table "Größe" ("Käse" bigint primary key, "select" text, "UPPER" int, "it's" int);

create table inserts (n int, what text);

create table nothing (id int primary key, v text);

create domain tags as text[];
create type inner_t as (d date, n numeric(8,2), f float8, note text);
create type outer_t as (i inner_t, list int[], r int4range, at timestamptz, raw bytea);
alter type outer_t add attribute gone int;
alter type outer_t drop attribute gone;
create table composed (
	id int primary key, o outer_t, os outer_t[], p pair, ps pair[], r4 int4range, rd daterange, rt tstzrange, rn numrange, mr int4multirange, t tags, bs bytea[], us uuid[],
	jb jsonb[], ivs interval[], f4 real[], f8 float8[], bools bool[], ts timestamp[], oids oid[], lsn pg_lsn, x8 xid8, pt point, bx box[], tv tsvector, i2 int2vector, big text[]);
alter table composed alter big set storage external;

-- keys that are made of parts
create table parts (k int[], r int4range, c pair, o oid, v int, primary key (k, r, c, o));
`

// textOnly are types whose binary form is not their text: one of them makes the whole stream come as text.
const textOnly = `
alter table lists add cash money, add floats double precision[], add at point, add span int4range, add words tsvector, add made pair;`

// extended are types of extensions, where the server has them.
const extended = `
create extension hstore; create extension citext; create extension ltree; create extension postgis;
create table extended (id int primary key, h hstore, hs hstore[], g geometry, gs geometry[], e geography, c citext, l ltree);
insert into extended values (1, 'a=>1, "b c"=>NULL, "q\""=>"x\\y", ""=>""', array['a=>1'::hstore, '', null], 'SRID=4326;POINT(1 2)', array['LINESTRING(0 0,1 1.5)'::geometry, null], 'POINT(-71.06 42.36)', 'CiText', 'a.b.c'),
	(2, '', '{}', 'POINT EMPTY', '{}', null, '', ''), (3, null, null, null, null, null, null, null)`

const extendedAgain = `
insert into extended select id + 10, h, hs, g, gs, e, c, l from extended; update extended set c = 'new' where id in (1, 12)`

const textOnlyRows = `
update lists set cash = 12.5, floats = '{1.5,NaN,-Infinity,NULL,1e-300}', at = '(1.25,-3)', span = '[1,10)', words = 'a:1 fat:2 cat:3', made = row(1, 'x "y"')`

const rows = `
insert into numbers values
	(1, -32768, -9223372036854775808, true, 1.5, 0.1, 123456789.125, 1234567890123456789012345678.0123456789, 99999999999999999999999999999999999999, 1.500, 1e50, 12345, 12.345, 4294967295),
	(2, 32767, 9223372036854775807, false, -0.0, -0.0, 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 0),
	(3, null, null, null, null, null, null, null, null, null, null, null, null, null),
	(4, 0, 0, false, 'NaN', 'NaN', 0, 0, 0, 'Infinity', -0.00001, -100, -0.001, 1),
	(5, 1, 1, true, 'Infinity', '-Infinity', -999999999.999, -0.0000000001, -1, 1e-100, 3.14159, 500, 999999.999, 2),
	(-6, 7, 8, true, 3.4028235e38, 1.7976931348623157e308, 0.001, 1, 1, 123456789012345678901234567890.123456789012345678901234567890, 1, 0, 0, 3),
	(7, 7, 8, true, 1e-45, 5e-324, null, null, 7, 0, 0, 0, 0, 3);

insert into texts values
	('00000000-0000-0000-0000-000000000001', E'it''s "a"\ttab\nline\\ and \\N', 'Łódź 🦆', 'ab', 'a_name', 'x', 'sad', '{"a": 1,  "b":[null]}', '{"b": [1.50, null], "a": "\u00e9"}', '\x00ff10', (select string_agg(md5(i::text), '') from generate_series(1, 3200) i), 1),
	('ffffffff-ffff-ffff-ffff-ffffffffffff', '', '', '', '', '', '', 'null', '{}', '', '', 2),
	('12345678-9abc-def0-1234-56789abcdef0', null, null, null, null, null, null, null, null, null, null, null),
	('aaaaaaaa-0000-0000-0000-000000000001', 'NULL', E'\u2028\u00a0', E' \t', 'Name', E'\\377', 'it''s "fine"', '[]', '"text"', decode(repeat('00ff', 4000), 'hex'), (select string_agg(md5(i::text), '') from generate_series(3201, 6400) i), 3),
	('aaaaaaaa-0000-0000-0000-000000000002', repeat('compressible ', 10000), 'v', 'c', 'n', '1', 'Ünïcode 🦆', '1', '[1, 2]', '\x', 'short', 4);

insert into times values
	(1, '2024-02-29', '2024-02-29 23:59:59.999999', '2024-02-29 23:59:59.999999+05:30', '1969-12-31 23:59:59.000001-08', '23:59:59.999999', '12:00:00.5+05:45', '1 year 2 mons -3 days 04:05:06.7', '2024-01-01'),
	(2, 'infinity', 'infinity', 'infinity', '-infinity', '24:00:00', '00:00:00-15:59', '-178000000 years', 'infinity'),
	(3, '-infinity', '-infinity', '-infinity', 'infinity', '00:00', '00:00:00+15:59', '0', '-infinity'),
	(4, '0044-03-15 BC', '0044-03-15 12:00 BC', '4713-01-01 00:00:00+00 BC', '0001-12-31 BC', null, null, '@ 1 day ago', null),
	(5, '5874897-12-31', '294276-12-31 23:59:59.999999', '10000-01-01 00:00+00', null, null, null, null, null),
	(6, '0001-01-01', '0001-01-01', '0001-01-01 00:00+00', '9999-12-31 23:59:59.999999+00', null, null, null, null),
	(7, '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', '1900-01-01 00:00+00', null, null, null, null),
	(8, null, null, null, null, null, null, null, null),
	(9, '1582-10-10', '1582-10-10', '1582-10-10 00:00+00', '1883-11-18 12:00-07:52:58', null, null, null, null);

insert into lists values
	(1, 'a', '{1,NULL,-3}', '{9223372036854775807}', '{"a b",NULL,"NULL","","q\"uote","back\\slash","{}"}', '{{1,2},{3,NULL}}', '{sad,"it''s \"fine\""}', '{1.50,NaN}', '{2024-01-01,infinity}', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', B'10101', B'1'),
	(2, 'a', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '::1', '2001:db8::/32', null, B'00000', B''),
	(2, 'B', '[0:2]={5,6,7}', null, '{x}', '{{{1}}}', null, null, '{"0044-03-15 BC"}', '192.168.0.1', null, null, null, null),
	(3, '', null, null, null, null, null, null, null, null, null, null, null, null);

insert into keys values
	('2024-01-01', 1.50, '2024-01-01 00:00+00', '\x00', 'a', 1), ('infinity', 'NaN', '-infinity', '', '', 2), ('-infinity', -0.01, 'infinity', '\xff', 'abcd', 3),
	('0044-03-15 BC', 0, '0044-03-15 00:00+00 BC', '\x00ff', 'ä', 4), ('infinity', 'NaN', 'infinity', '', '', 5);

insert into composed values
	(1, row(row('2024-02-29', 1.5, 0.1, E'q"\\ \n(,)'), '{1,NULL}', '[1,5)', '2024-01-01 12:00:00.5+02', '\x00ff'), array[row(row('2024-01-01', 2, 'NaN', ''), '{}', 'empty', null, '\x'), null]::outer_t[], row(1, 'NULL'), array[row(null, null), row(2, 'a,b')]::pair[],
		'[1,10)', '[2024-01-01,)', '["2024-01-01 00:00+00","2024-06-01 00:00:00.25+00"]', '(1.50,NaN]', '{[1,3),[7,9)}', '{a,"b c",NULL,"NULL"}', array['\x00'::bytea, null], array['1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0'::uuid],
		array['{"a": [1.50]}'::jsonb, 'null'], array['1 day 00:00:01'::interval], '{1.5,NULL}', '{1.5,NaN,-Infinity,NULL}', '{t,f,NULL}', array['2024-01-01 00:00:00.25'::timestamp], '{0,4294967295}', '16/B374D848', '18446744073709551615', '(1.5,-0)', '{(1,2),(0,0);(3,3),(2,2)}', 'a:1A fat:2', '1 2', array[(select string_agg(md5(i::text), '') from generate_series(1, 400) i), 'small']),
	(2, row(row('infinity', 1, 1, ''), null, null, null, null), array[row(row('2024-01-01', 'NaN', 1, ''), null, null, null, null)]::outer_t[], null, '{}', '(,)', '[-infinity,infinity)', '[,2024-01-01 00:00+00)', 'empty', '{}', '{{a},{b}}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', array['infinity'::timestamp], '[0:0]={7}', '0/0', '0', null, null, '', '', array[(select string_agg(md5(i::text), '') from generate_series(401, 800) i)]),
	(3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
	(4, row(null, null, null, null, null), array[row(null, null, null, null, null)]::outer_t[], row(null, null), array[row(3, '"')]::pair[], 'empty', 'empty', 'empty', '[1,1]', '{(,)}', '{}', null, null, null, null, '{NaN}', '{-0}', null, null, null, null, null, '(Infinity,NaN)', null, null, null, '{}');
-- a value out of line that is no list: where it is not sent its exact text has to come from the lake
insert into composed (id, big) values (5, (select array[array_agg(md5(i::text))] from generate_series(1001, 1400) i));

insert into parts values ('{1,2}', '[1,5)', row(1, 'a'), 1, 1), ('{1}', '[1,5)', row(1, 'a'), 1, 2), ('{}', 'empty', row(1, null), 4294967295, 3), ('[0:1]={1,2}', '[1,5)', row(1, 'a'), 1, 4), ('{{1,2}}', '(,)', row(1, ''), 0, 5);

insert into "Größe" select i, 'row ' || i, i, -i from generate_series(1, 20) i;
insert into inserts select i, 'what ' || i from generate_series(1, 10) i;
`

// streamAgain sends every value that was copied once more, through the stream.
const streamAgain = `
insert into numbers select (id + 1000) * -1, small, big, flag, f4, f8, dec, wide, whole, free, beyond, rounded, p, o from numbers;
insert into texts select md5('again ' || id)::uuid, t, v, c, nm, one, m, j, jb, b, long, n from texts;
insert into times select id + 1000, d, ts, tz, l, t, tt, iv, ts0 from times;
create temporary table again as select * from lists;
update again set a = a + 1000;
insert into lists select * from again;
insert into keys select d, n, t, b, 'x', v + 100 from keys;
insert into "Größe" select "Käse" + 1000, "select", "UPPER", "it's" from "Größe";
insert into inserts select n + 1000, what from inserts;
create temporary table once as select * from composed;
update once set id = id + 1000;
insert into composed select * from once;
insert into parts select k, r, c, (o::int8 + 7)::oid, v + 100 from parts where o < 10;
`

// changes are made after it, before the first look.
const changes = `
update texts set n = n + 100 where long is not null; -- long is out of line, and not sent
update numbers set dec = null where id = 4;
update keys set v = v * 10;
update composed set p = row(99, 'changed') where id in (1, 5, 1002, 1005); -- big is out of line, and not sent
update parts set v = v * 10;
`

// moreChanges follow the first look, each in a transaction of its own.
var moreChanges = []string{
	`update texts set n = n + 1, v = 'changed'`,
	// The key changes and a large value is not sent: it has to be carried over from the old row.
	`update texts set id = md5('moved ' || id)::uuid where n > 100`,
	`update texts set long = null where n = 3; update texts set long = 'now short' where v = 'changed' and length(long) > 100 and n % 2 = 0`,
	`update numbers set dec = 1.5, wide = 2.5 where dec = 'NaN'; update numbers set dec = 'NaN' where id = 1`,
	`delete from numbers where id in (5, -1005, -6)`,
	// Three keys go round in one transaction.
	`begin; update numbers set id = 100 where id = 1; update numbers set id = 1 where id = 2; update numbers set id = 2 where id = 3; update numbers set id = 3 where id = 100; commit`,
	`begin; insert into times (id, d) values (50, '2020-01-01'); update times set d = 'infinity' where id = 50; update times set id = 51 where id = 50; delete from times where id = 51; insert into times (id, d) values (50, '2021-01-01'); commit`,
	`delete from times where id = 2; update times set d = '2000-01-01' where id = 3; update times set tz = 'infinity' where id = 1`,
	`begin; insert into lists (a, b) values (77, 'gone'); truncate lists; insert into lists (a, b, ints, texts) values (1, 'a', '{1}', '{after,truncate}'), (2, 'b', null, null); commit`,
	`update keys set d = 'infinity', n = 2 where v = 10; delete from keys where d = '-infinity'; update keys set v = v + 1`,
	`update keys set c = 'z' || substr(c, 1, 2) where n = 'NaN'`,
	`alter table "Größe" add "neu" text; insert into "Größe" values (5000, 'with', 1, 2, 'new'); update "Größe" set "neu" = 'set ' || "Käse" where "Käse" % 2 = 0`,
	`alter table "Größe" add "auch" numeric(6,2), add "zeit" timestamp; update "Größe" set "auch" = 1.25, "zeit" = '2024-05-06 07:08:09' where "Käse" % 3 = 0`,
	`insert into inserts values (99, 'later'), (99, 'later')`,
	`update composed set id = id + 5000, r4 = '[7,8)' where id in (1, 2); update composed set o = null, os = '{}', f8 = '{{1,2}}' where id = 1001`,
	`update composed set o.list = '{9}', big[2] = 'other' where id = 1002; delete from composed where id = 4`,
	`update parts set v = v + 1; update parts set k = k || 3 where v % 2 = 0; delete from parts where r = 'empty'; update parts set c.b = 'new' where k = '{1}'`,
	`delete from "Größe" where "Käse" between 1001 and 1005`,
	// What is rolled back is not there, and what came before it in the transaction is.
	`begin; insert into nothing values (1, 'kept'); savepoint s; insert into nothing values (2, 'gone'); update texts set n = -1; rollback to s; delete from nothing; commit`,
}
