using System.Reflection;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>
/// While one thread holds a lock of an allocator, another one that needs it waits. The cache calls the allocator behind it while it holds
/// slots; what calls nobody has its lock held from outside.
/// </summary>
public sealed class AllocatorLockLaws
{
    private const ulong Page = 4096;

    private static readonly IovaRange Space = IovaRange.FromLength(new(0), 1024 * Page);

    public enum Holder
    {
        GivesAllBack,
        GivesHalfBack,
    }

    public enum Call
    {
        Takes,
        GivesItsOwn,
        GivesWhatAnotherThreadTook,
    }

    public static TheoryData<Holder, Call> Calls
    {
        get
        {
            var data = new TheoryData<Holder, Call>();
            foreach (Holder holder in Enum.GetValues<Holder>())
            {
                foreach (Call call in Enum.GetValues<Call>()) data.Add(holder, call);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void While_ranges_go_back_to_the_allocator_behind_nobody_gets_at_their_slot(Holder holder, Call call)
    {
        var behind = new CallingBack(new RangeAllocator(Space));
        Other? other = null;
        var allocator = new CachedRangeAllocator(behind, 2, () => other?.IsCaller == true && call == Call.GivesWhatAnotherThreadTook ? 1 : 0);
        HeldLock[] slots = [HeldLock.Slot(allocator, 0), HeldLock.Slot(allocator, 1)];
        var ranges = new IovaRange[64];
        for (int i = 0; i < ranges.Length; i++) Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out ranges[i]));
        Assert.Equal(VcmmError.None, allocator.TryAllocate(2 * Page, 2 * Page, out IovaRange longer));
        for (int i = 0; i < 63; i++) Assert.Equal(VcmmError.None, allocator.TryFree(ranges[i]));
        IovaRange taken = default;
        other = new(() => call == Call.Takes ? allocator.TryAllocate(Page, Page, out taken) : allocator.TryFree(longer));
        bool waits = false;
        behind.OnFree = () =>
        {
            behind.OnFree = null;
            waits = other.WaitsFor(slots);
        };
        if (holder == Holder.GivesAllBack) allocator.GiveBack();
        else Assert.Equal(VcmmError.None, allocator.TryFree(ranges[63]));
        Assert.True(waits);
        Assert.Equal(VcmmError.None, other.Result());

        if (call == Call.Takes) Assert.Equal(VcmmError.None, allocator.TryFree(taken));
        else Assert.Equal(VcmmError.Invalid, allocator.TryFree(longer));
        if (holder == Holder.GivesAllBack) Assert.Equal(VcmmError.None, allocator.TryFree(ranges[63]));
        if (call == Call.Takes) Assert.Equal(VcmmError.None, allocator.TryFree(longer));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(Space));
    }

    /// <summary>By whatever way a range comes, the slot learns of it under its lock.</summary>
    [Fact]
    public void A_slot_that_is_held_learns_of_no_range()
    {
        var allocator = new CachedRangeAllocator(new RangeAllocator(Space), 1, static () => 0);
        var range = IovaRange.FromLength(new(0), Page);
        HeldLock slot = HeldLock.Slot(allocator, 0);
        var other = new Other(() => allocator.TryAllocateAt(range));
        slot.Enter();
        bool waits = other.WaitsFor(slot);
        slot.Exit();
        Assert.True(waits);
        Assert.Equal(VcmmError.None, other.Result());
        Assert.Equal(VcmmError.None, allocator.TryFree(range));
    }

    /// <summary>Who gives back what another thread took finds it in that thread's slot first, and then needs its own.</summary>
    [Fact]
    public void A_slot_that_is_held_keeps_no_range_of_another()
    {
        Other? other = null;
        var allocator = new CachedRangeAllocator(new RangeAllocator(Space), 2, () => other?.IsCaller == true ? 1 : 0);
        Assert.Equal(VcmmError.None, allocator.TryAllocate(Page, Page, out IovaRange range));
        HeldLock slot = HeldLock.Slot(allocator, 0);
        HeldLock own = HeldLock.Slot(allocator, 1);
        other = new(() => allocator.TryFree(range));
        slot.Enter();
        bool waitsForSlot = other.WaitsFor(slot);
        own.Enter();
        slot.Exit();
        bool waitsForOwn = other.WaitsFor(own);
        own.Exit();
        Assert.Equal((true, true), (waitsForSlot, waitsForOwn));
        Assert.Equal(VcmmError.None, other.Result());
        Assert.Equal(VcmmError.Invalid, allocator.TryFree(range));
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(Space));
    }

    /// <summary>And once nobody waits any more, the lock knows: who lets it go looks for nobody.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Ranges_are_looked_for_taken_and_given_back_under_the_lock(int call)
    {
        var allocator = new RangeAllocator(Space);
        var range = IovaRange.FromLength(new(0), Page);
        Assert.Equal(VcmmError.None, allocator.TryAllocateAt(range));
        var other = new Other(() => call switch
        {
            0 => allocator.TryAllocate(Page, Page, out _),
            1 => allocator.TryFind(Page, Page, Space, out _),
            2 => allocator.TryAllocateAt(IovaRange.FromLength(new(Page), Page)),
            _ => allocator.TryFree(range),
        });
        HeldLock gate = HeldLock.Gate(allocator);
        gate.Enter();
        bool waits = other.WaitsFor(gate);
        gate.Exit();
        Assert.True(waits);
        Assert.Equal(VcmmError.None, other.Result());
        Assert.False(gate.HasWaiters);
    }

    /// <summary>A call on a thread of its own.</summary>
    private sealed class Other
    {
        private readonly Thread _thread;
        private VcmmError _error;
        private Exception? _failure;

        public Other(Func<VcmmError> call) => _thread = new(() =>
        {
            try
            {
                _error = call();
            }
            catch (Exception e)
            {
                // Thrown where the result is asked for: here it would end the process.
                _failure = e;
            }
        })
        {
            IsBackground = true,
        };

        public bool IsCaller => Thread.CurrentThread == _thread;

        /// <summary>Whether it waits for one of the locks, once it has been started; otherwise it is through.</summary>
        public bool WaitsFor(params HeldLock[] locks)
        {
            if ((_thread.ThreadState & ThreadState.Unstarted) != 0) _thread.Start();
            var spin = new SpinWait();
            while (_thread.IsAlive)
            {
                if (Array.Exists(locks, static held => held.HasWaiters)) return true;
                spin.SpinOnce(sleep1Threshold: -1);
            }

            return false;
        }

        public VcmmError Result()
        {
            Assert.True(_thread.Join(TimeSpan.FromMinutes(1)), "nobody woke it");
            Assert.Null(_failure);
            return _error;
        }
    }

    /// <summary>A lock of an allocator: the test takes it, or looks for who waits for it.</summary>
    private sealed class HeldLock(object thinLock)
    {
        private const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.NonPublic;

        public bool HasWaiters
        {
            get
            {
                FieldInfo? count = null;
                for (Type? type = thinLock.GetType(); count is null; type = type!.BaseType) count = type!.GetField("_waiterCount", Hidden);
                return (int)count.GetValue(thinLock)! != 0;
            }
        }

        public static HeldLock Gate(RangeAllocator allocator) => new(Field(allocator, "_gate"));

        public static HeldLock Slot(CachedRangeAllocator allocator, int which) => new(((object[])Field(allocator, "_slots"))[which]);

        public void Enter() => thinLock.GetType().GetMethod("Enter")!.Invoke(thinLock, null);

        public void Exit() => thinLock.GetType().GetMethod("Exit")!.Invoke(thinLock, null);

        private static object Field(object owner, string name) => owner.GetType().GetField(name, Hidden)!.GetValue(owner)!;
    }

    /// <summary>Calls back before it takes a range back.</summary>
    private sealed class CallingBack(IRangeAllocator inner) : IRangeAllocator
    {
        public Action? OnFree { get; set; }

        public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range) =>
            inner.TryAllocate(byteCount, alignment, placement, within, out range);

        public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range) => inner.TryFind(byteCount, alignment, within, out range);

        public VcmmError TryAllocateAt(IovaRange range) => inner.TryAllocateAt(range);

        public VcmmError TryFree(IovaRange range)
        {
            OnFree?.Invoke();
            return inner.TryFree(range);
        }
    }
}
