using Explorer.Machines;
using Explorer.Races;
using Explorer.Scheduling;
using IommuSim;
using Platform;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>One schedule in which agents do one thing after the other, each on a task of its own: what orders them is what they do, and not that they take turns.</summary>
public sealed class RaceRun
{
    private const uint QueueHead = 0x80, QueueTail = 0x88, RequestHead = 0xC0, RequestTail = 0xC8, InvalidateCommand = 0xF8;
    private const ulong Invalidation = 0xF2, Undrained = 0x32, Wait = 0x25;

    private static readonly PhysRange Bank = PhysRange.FromLength(new(0x1_0000), 0x8000);
    private static readonly MemoryPool Pool = new(Bank);
    private readonly AccessRaces _races;

    private RaceRun(Attempt attempt)
    {
        Pool.Reset();
        attempt.Races = _races = new(attempt, static word => word.Value >> 12 == Descriptor.Value >> 12);
    }

    /// <summary>An entry of a table.</summary>
    public static PhysAddr Entry { get; } = new(0x1_0008);

    /// <summary>An entry of the table above it.</summary>
    public static PhysAddr Link { get; } = new(0x1_1010);

    /// <summary>A word of a queue.</summary>
    public static PhysAddr Descriptor { get; } = new(0x1_2010);

    /// <summary>The status word of a wait.</summary>
    public static PhysAddr Status { get; } = new(0x1_3004);

    /// <summary>The page that the entry is in.</summary>
    public static PhysRange Page { get; } = PhysRange.FromLength(new(0x1_0000), 0x1000);

    /// <summary>What is said of the two accesses that nothing orders; null: something does.</summary>
    public static Violation? Of(params (string Agent, Action<RaceRun> Act)[] acts)
    {
        Exploration result = Controlled.Explore(new(Strategy.Random, 1, 1), attempt =>
        {
            Attempt.Agent = Attempt.SetUpAgent;
            var run = new RaceRun(attempt);
            int turn = 0;
            Task[] tasks = [.. acts.Select(static act => act.Agent).Distinct().Select(agent => Task.Run(() =>
            {
                Attempt.Agent = agent;
                for (int i = 0; i < acts.Length; i++)
                {
                    if (acts[i].Agent != agent) continue;
                    int mine = i;
                    Controlled.WaitUntil(() => turn == mine);
                    attempt.Note(EventKind.Call, text: $"act {i}");
                    acts[i].Act(run);
                    attempt.Note(EventKind.Return, text: $"act {i}");
                    turn++;
                }
            }))];
            Task.WaitAll(tasks);
            Attempt.Agent = Attempt.SetUpAgent;
        });
        Assert.Equal(1, result.Schedules);
        Assert.Empty(result.Uncontrolled);
        return result.Failure?.Violation;
    }

    /// <summary>Stores a word that is not there yet.</summary>
    public void Store(PhysAddr word, MemorySide side = MemorySide.Processor)
    {
        if (word == Status) Memory(side).Write32(word, Memory(side, isSeen: false).Read32(word) + 1);
        else Memory(side).Write64(word, Memory(side, isSeen: false).Read64(word) + 1);
    }

    /// <summary>Loads a word: a walk, where it is not a processor's.</summary>
    public void Load(PhysAddr word, MemorySide side = MemorySide.Processor)
    {
        if (word == Status) Memory(side).Read32(word);
        else Memory(side).Read64(word);
    }

    /// <summary>Exchanges a word, whatever it is.</summary>
    public void Exchange(PhysAddr word)
    {
        ulong there = Memory(MemorySide.Processor, isSeen: false).Read64(word);
        Memory(MemorySide.Processor).CompareExchange64(word, there + 1, there);
    }

    /// <summary>A device moves bytes.</summary>
    public void Move(PhysAddr address) => Memory(MemorySide.Device).Read(address, new byte[8]);

    /// <summary>Makes the page a table.</summary>
    public void Fill() => Memory(MemorySide.Processor).Write(Page.First, new byte[0x1000]);

    /// <summary>Gives the page back.</summary>
    public void Free() => _races.Free(Page);

    /// <summary>An access begins.</summary>
    public void Begin(bool isOfCore = false) => _races.BeginAccess(isOfCore);

    /// <summary>An access ends.</summary>
    public void End() => _races.EndAccess();

    /// <summary>A whole access that walks through the entry and moves bytes in its page.</summary>
    public void Access(bool isOfCore = false)
    {
        Begin(isOfCore);
        Load(Entry, MemorySide.Walker);
        Move(Entry);
        End();
    }

    /// <summary>The tail of the queue is written.</summary>
    public void Ring() => _races.RegisterWrite(QueueTail);

    /// <summary>The head of the queue is read.</summary>
    public void ReadHead() => _races.RegisterRead(QueueHead, 0);

    /// <summary>The tail of the queue of page requests is read.</summary>
    public void ReadRequestTail() => _races.RegisterRead(RequestTail, 0);

    /// <summary>The head of the queue of page requests is written.</summary>
    public void WriteRequestHead() => _races.RegisterWrite(RequestHead);

    /// <summary>The hardware takes an invalidation.</summary>
    public void Invalidate(bool drains = true)
    {
        Step(SimStep.CommandFetch);
        _races.Step(SimStep.CommandExecute, drains ? Invalidation : Undrained);
    }

    /// <summary>An invalidation is written to its register, and takes effect.</summary>
    public void InvalidateByRegister() => _races.RegisterWritten(InvalidateCommand);

    /// <summary>The register is read.</summary>
    /// <param name="isDone">What it says.</param>
    public void ReadInvalidation(bool isDone = true) => _races.RegisterRead(InvalidateCommand, isDone ? 0 : 1UL << 63);

    /// <summary>The hardware takes a wait, and may still have to wait.</summary>
    public void TakeWait()
    {
        Step(SimStep.CommandFetch);
        _races.Step(SimStep.CommandExecute, Wait);
    }

    /// <summary>The hardware says that it is done.</summary>
    public void SayDone()
    {
        Step(SimStep.StatusWrite);
        Store(Status, MemorySide.Walker);
    }

    /// <summary>A shootdown is sent.</summary>
    public void Send() => _races.BeginShootdown();

    /// <summary>All cores have forgotten.</summary>
    public void AllAcknowledged() => _races.EndShootdown();

    /// <summary>A step of the hardware.</summary>
    public void Step(SimStep step) => _races.Step(step, 0);

    private ControlledMemory Memory(MemorySide side, bool isSeen = true) => new(Pool, new Unwatched(), null, side, isSeen ? _races : null);

    private sealed class Unwatched : IMemoryObserver
    {
        public void WordRead(PhysAddr address, ulong value)
        {
        }

        public void WordWritten(PhysAddr address, ulong value)
        {
        }

        public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
        {
        }
    }
}
