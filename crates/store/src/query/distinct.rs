//! `count(DISTINCT text)`: how many addresses a day, how many pages a month. It is what figures are made of, and by the
//! engine's own way, which groups by every value of every group, costs more than all else in a query.
//!
//! Here each value gets a number, once in a query and in whatever groups it comes, and a group is a bitmap of numbers.
//! Values cannot be put aside on disk: where there are too many for the query's memory, it is asked again the engine's way.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, ExprSchemable, GroupsAccumulator, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use roaring::RoaringBitmap;

/// A session's way of counting distinct texts.
pub(super) struct Distinct(Arc<Numbers>);

impl Distinct {
    /// Whether a query did count so.
    pub(super) fn is_used(&self) -> bool {
        self.0.memory.size() > 0
    }
}

/// From now on the session counts distinct texts so.
pub(super) fn register(session: &SessionContext) -> Result<Distinct> {
    let memory = MemoryConsumer::new("distinct values").register(&session.runtime_env().memory_pool);
    let numbers = Arc::new(Numbers::new(memory));
    let function = CountDistinct { signature: Signature::any(1, Volatility::Immutable), numbers: numbers.clone() };
    session.state_ref().write().register_function_rewrite(Arc::new(Rewrite(Arc::new(AggregateUDF::from(function)))))?;
    Ok(Distinct(numbers))
}

/// Puts our function where SQL counts distinct texts.
#[derive(Debug)]
struct Rewrite(Arc<AggregateUDF>);

impl FunctionRewrite for Rewrite {
    fn name(&self) -> &str {
        "count distinct texts"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        match &expr {
            Expr::AggregateFunction(AggregateFunction { func, params })
                if func.name() == "count"
                    && params.distinct
                    && params.order_by.is_empty()
                    && let [value] = params.args.as_slice()
                    && matches!(value.get_type(schema)?, DataType::Utf8View | DataType::BinaryView) =>
            {
                let params = AggregateFunctionParams { distinct: false, ..params.clone() };
                Ok(Transformed::yes(Expr::AggregateFunction(AggregateFunction { func: self.0.clone(), params })))
            }
            _ => Ok(Transformed::no(expr)),
        }
    }
}

#[derive(Debug)]
struct CountDistinct {
    signature: Signature,
    numbers: Arc<Numbers>,
}

// A session has one.
impl PartialEq for CountDistinct {
    fn eq(&self, other: &CountDistinct) -> bool {
        Arc::ptr_eq(&self.numbers, &other.numbers)
    }
}

impl Eq for CountDistinct {}

impl Hash for CountDistinct {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.numbers).hash(state);
    }
}

impl CountDistinct {
    fn groups(&self) -> Groups {
        Groups { numbers: self.numbers.clone(), groups: Vec::new(), values: 0 }
    }
}

impl AggregateUDFImpl for CountDistinct {
    fn name(&self) -> &str {
        "count_distinct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _kind: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(arguments.name, "numbers"), DataType::Binary, false))])
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(All(self.groups())))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups()))
    }
}

/// A value as it is looked up: as it is up to 15 bytes, which most addresses have, else as its hash.
type Key = [u8; 16];

fn key_of(value: &[u8]) -> Key {
    const HASHED: u8 = 0x80;
    let mut key = Key::default();
    if value.len() < key.len() {
        key[..value.len()].copy_from_slice(value);
        key[15] = value.len() as u8;
    } else {
        key = event::id::of(value);
        key[15] |= HASHED;
    }
    key
}

/// Mixes the bytes of a key, which may be text.
#[derive(Default)]
struct KeyHasher(u64);

fn mix(key: &Key) -> u64 {
    let number = u128::from_le_bytes(*key);
    let (low, high) = (number as u64 ^ 0x9E37_79B9_7F4A_7C15, (number >> 64) as u64 ^ 0xD1B5_4A32_D192_ED03);
    let product = u128::from(low) * u128::from(high);
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, mix);
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The number of each value, for all threads of a query. Those of one shard are far apart, so that together they are dense.
struct Numbers {
    shards: [Mutex<Shard>; SHARDS],
    memory: MemoryReservation,
}

type Shard = HashMap<Key, u32, BuildHasherDefault<KeyHasher>>;

const SHARDS: usize = 64;

/// What a value takes of a shard, in bytes, while the shard grows.
const VALUE: usize = (size_of::<(Key, u32)>() + 1) * 2;

impl fmt::Debug for Numbers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Numbers").field("bytes", &self.memory.size()).finish_non_exhaustive()
    }
}

impl Numbers {
    fn new(memory: MemoryReservation) -> Numbers {
        Numbers { shards: std::array::from_fn(|_| Mutex::default()), memory }
    }

    /// The keys' numbers, in their order. Each shard is locked once for all of them.
    fn of(&self, keys: &[Key]) -> Result<Vec<u32>> {
        let shard_of = |key: &Key| (mix(key) >> 50) as usize % SHARDS;
        let shards: Vec<u8> = keys.iter().map(|key| shard_of(key) as u8).collect();
        let mut ends = [0_usize; SHARDS];
        shards.iter().for_each(|shard| ends[usize::from(*shard)] += 1);
        let mut sum = 0;
        for end in &mut ends {
            sum += std::mem::replace(end, sum);
        }
        let mut order = vec![0_u32; keys.len()];
        for (place, shard) in shards.iter().enumerate() {
            let next = &mut ends[usize::from(*shard)];
            order[*next] = place as u32;
            *next += 1;
        }
        let mut numbers = vec![0; keys.len()];
        let mut start = 0;
        for (shard, end) in ends.into_iter().enumerate() {
            self.of_shard(shard, keys, &order[start..end], &mut numbers)?;
            start = end;
        }
        Ok(numbers)
    }

    fn of_shard(&self, place: usize, keys: &[Key], chosen: &[u32], numbers: &mut [u32]) -> Result<()> {
        let mut shard = self.shards[place].lock().unwrap_or_else(PoisonError::into_inner);
        let before = shard.len();
        for chosen in chosen {
            let next = shard.len() * SHARDS + place;
            numbers[*chosen as usize] = *shard.entry(keys[*chosen as usize]).or_insert(next as u32);
        }
        match shard.len() {
            // Numbers of more than 32 bits there are none.
            many if many >= u32::MAX as usize / SHARDS => {
                Err(DataFusionError::ResourcesExhausted("4,000,000,000 distinct values".to_owned()))
            }
            now => self.memory.try_grow((now - before) * VALUE),
        }
    }
}

/// The values that each group has seen.
#[derive(Debug)]
struct Groups {
    numbers: Arc<Numbers>,
    groups: Vec<RoaringBitmap>,
    /// Of all groups together.
    values: usize,
}

/// What a value takes of a bitmap, in bytes, at most.
const BIT: usize = 4;

impl Groups {
    /// Adds the values of rows that have one; `group` says whose each is.
    fn see(&mut self, values: &ArrayRef, filter: Option<&BooleanArray>, group: impl Fn(usize) -> usize) -> Result<()> {
        let counts = |row: &usize| values.is_valid(*row) && filter.is_none_or(|filter| filter.is_valid(*row) && filter.value(*row));
        let rows: Vec<usize> = (0..values.len()).filter(counts).collect();
        let keys: Vec<Key> = match (values.as_string_view_opt(), values.as_binary_view_opt()) {
            (Some(texts), _) => rows.iter().map(|row| key_of(texts.value(*row).as_bytes())).collect(),
            (_, Some(bytes)) => rows.iter().map(|row| key_of(bytes.value(*row))).collect(),
            _ => return Err(DataFusionError::Internal(format!("distinct values of {}", values.data_type()))),
        };
        for (row, number) in rows.into_iter().zip(self.numbers.of(&keys)?) {
            self.values += usize::from(self.groups[group(row)].insert(number));
        }
        Ok(())
    }

    fn merge(&mut self, states: &ArrayRef, group: impl Fn(usize) -> usize) -> Result<()> {
        for (row, state) in states.as_binary::<i32>().iter().enumerate() {
            let other = RoaringBitmap::deserialize_from(state.unwrap_or_default())?;
            let own = &mut self.groups[group(row)];
            let before = own.len();
            if own.is_empty() {
                *own = other
            } else {
                *own |= other
            }
            self.values += (own.len() - before) as usize;
        }
        Ok(())
    }

    fn take(&mut self, emit: EmitTo) -> Vec<RoaringBitmap> {
        let taken = emit.take_needed(&mut self.groups);
        self.values -= taken.iter().map(|group| group.len() as usize).sum::<usize>();
        taken
    }
}

fn serialized<'g>(groups: impl Iterator<Item = &'g RoaringBitmap>) -> Result<BinaryArray> {
    let bytes = |group: &RoaringBitmap| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(group.serialized_size());
        group.serialize_into(&mut bytes)?;
        Ok(bytes)
    };
    let states = groups.map(bytes).collect::<io::Result<Vec<_>>>()?;
    Ok(BinaryArray::from_iter_values(states))
}

impl GroupsAccumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef], places: &[usize], filter: Option<&BooleanArray>, groups: usize) -> Result<()> {
        self.groups.resize_with(groups, RoaringBitmap::new);
        self.see(&values[0], filter, |row| places[row])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.take(emit).iter().map(|group| Some(group.len() as i64)).collect::<Int64Array>()))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(serialized(self.take(emit).iter())?)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], places: &[usize], groups: usize) -> Result<()> {
        self.groups.resize_with(groups, RoaringBitmap::new);
        self.merge(&states[0], |row| places[row])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut each = Groups { numbers: self.numbers.clone(), groups: vec![RoaringBitmap::new(); rows], values: 0 };
        each.see(&values[0], filter, |row| row)?;
        Ok(vec![Arc::new(serialized(each.groups.iter())?)])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<RoaringBitmap>() + self.values * BIT
    }
}

/// All rows as one group.
#[derive(Debug)]
struct All(Groups);

impl All {
    fn group(&mut self) -> &mut Groups {
        self.0.groups.resize_with(1, RoaringBitmap::new);
        &mut self.0
    }
}

impl Accumulator for All {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.group().see(&values[0], None, |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.group().groups[0].len() as i64)))
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = serialized(self.group().groups.iter())?;
        Ok(vec![ScalarValue::Binary(Some(states.value(0).to_vec()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.group().merge(&states[0], |_| 0)
    }
}
