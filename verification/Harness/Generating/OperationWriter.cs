using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

/// <summary>
/// Writes steps one after the other, each on objects that earlier ones made. It keeps a rough idea of what the steps have come
/// to, so that most can be done; some are wrong on purpose.
/// </summary>
internal sealed partial class OperationWriter
{
    private const ulong Page = World.PageBytes, Chunk = 64 << 10, Large = 2 << 20;

    // How likely each operation is, in parts of their sum.
    private static readonly (uint Weight, Func<OperationWriter, Operation?> Write)[] Kinds =
    [
        (3, static w => w.CreateVcm()), (2, static w => w.CloneVcm()), (1, static w => w.FreeVcm()), (6, static w => w.CreateBound()),
        (4, static w => w.FreeBound()), (9, static w => w.Reserve()), (11, static w => w.ReserveAt()), (6, static w => w.Unreserve()),
        (3, static w => w.Acquire()), (4, static w => w.Release()), (9, static w => w.SetAttributes()), (12, static w => w.Allocate()),
        (2, static w => w.AllocateContiguous()), (3, static w => w.Wrap()), (6, static w => w.FreeMemory()), (24, static w => w.Back()),
        (9, static w => w.BackPart()), (12, static w => w.Unback()), (14, static w => w.UnbackPart()), (4, static w => w.Map()),
        (2, static w => w.Unmap()), (4, static w => w.Bind()), (4, static w => w.Unbind()), (5, static w => w.Copy()),
        (8, static w => w.Associate()), (2, static w => w.Deassociate()), (8, static w => w.Activate()), (5, static w => w.Deactivate()),
        (4, static w => w.Translate()), (4, static w => w.TranslateTo()), (3, static w => w.Find()), (4, static w => w.FindMappings()),
        (2, static w => w.List()), (18, static w => w.Access()),
        (2, static w => w.Flush()), (1, static w => w.PollFlush()), (1, static w => w.AdvanceTime()), (1, static w => w.ReserveAgain()),
        (2, static w => w.SetFaultHook()), (3, static _ => new DispatchFaults()),
    ];

    // The end of a 2 MiB region, of a 1 GiB one, and the edges of the interrupt range are where mistakes live.
    private static readonly ulong[] Origins = [0, 0, Large, 1UL << 30, 0xFEDF_0000, 0xFEE0_0000, (1UL << 38) - Large, 1UL << 47];

    private readonly PCG _pcg;
    private readonly ScenarioShape _shape;
    private readonly DeviceList _devices;
    private readonly bool _isScalable;
    private readonly bool _hasFirstStage;
    private readonly bool _hasPasids;
    private readonly (uint Weight, Func<OperationWriter, Operation?> Write)[] _kinds;
    private readonly uint _weights;
    private readonly List<(ObjectId Id, AddressRange Range, bool OneToOne)> _vcms = [];
    private readonly List<(ObjectId Id, ObjectId Vcm, ulong First, ulong ByteCount)> _bounds = [];
    private readonly List<Reserved> _reservations = [];
    private readonly List<(ObjectId Id, ulong ByteCount)> _memories = [];
    private readonly List<(ObjectId Id, bool Active)> _associations = [];
    private readonly Dictionary<ObjectKind, int> _made = [];

    public OperationWriter(PCG pcg, Topology topology, ScenarioShape shape)
    {
        _pcg = pcg;
        _attributes = new(pcg.Stream, pcg.Seed ^ AttributeStream);
        _use = new(pcg.Stream, pcg.Seed ^ UseStream);
        _beside = new(pcg.Stream, pcg.Seed ^ BesideStream);
        _change = new(pcg.Stream, pcg.Seed ^ ChangeStream);
        _wild = new(pcg.Stream, pcg.Seed ^ WildStream);
        _pass = new(pcg.Stream, pcg.Seed ^ PassStream);
        _nest = new(pcg.Stream, pcg.Seed ^ NestStream);
        _nests = topology.Nesting;
        _across = new(pcg.Stream, pcg.Seed ^ TranslateStream);
        _shape = shape;
        _devices = topology.Devices;
        _types = topology.Banks?.Select(static bank => bank.Type).Distinct().ToArray() ?? [];
        _isScalable = topology.IsScalable;
        (_hasFirstStage, _hasPasids) = (topology.FirstStage, topology.Pasids);
        (_cores, _processes) = (topology.Cores, topology.Processes);
        _kinds = [.. _isScalable ? ScalableKinds : Kinds, .. KindsOf(_devices), .. _cores != 0 && _processes != 0 ? CpuKinds : []];
        _weights = (uint)_kinds.Sum(static kind => kind.Weight);
    }

    /// <summary>What most scenarios begin with: a region that a device is active in, and a reservation that is backed.</summary>
    public IEnumerable<Step> Begin()
    {
        if (_pcg.Next(6) == 0) yield break;
        yield return new(CreateVcm());
        if (_vcms.Count == 0) yield break;
        if (_shape.LargeChunks && _pcg.Next(5) == 0)
        {
            foreach (Step step in BeginLarge()) yield return step;
            yield break;
        }

        // Bounds first: later there is little room.
        if (_pcg.Next(4) == 0) yield return new(CreateBound()!);
        bool isBackedFirst = _pcg.Next(2) == 0;
        for (int half = 0; half < 2; half++)
        {
            if ((half == 0) == isBackedFirst)
            {
                yield return new(ReserveAt()!);
                yield return new(Allocate());
                if (Back() is { } back) yield return new(back);
            }
            else
            {
                yield return new(Associate()!);
                yield return new(Activate()!);
                foreach (Step step in JoinAgain()) yield return step;
            }
        }
    }

    /// <summary>A large leaf at once: left to chance it comes late, and is seldom cut.</summary>
    private IEnumerable<Step> BeginLarge()
    {
        (ObjectId vcm, AddressRange range, _) = _vcms[^1];
        ulong first = (range.First + Large - 1) & ~(Large - 1), byteCount = Large + Page * _pcg.Next(2);
        ObjectId reservation = Make(ObjectKind.Reservation), memory = Make(ObjectKind.Memory);
        _reservations.Add(new(reservation, vcm, first, byteCount) { Memory = memory });
        _memories.Add((memory, byteCount));
        yield return new(new Vcmm.Spec.ReserveAt(reservation, vcm, first, byteCount, Vcmm.Spec.Permissions.ReadWrite));
        yield return new(new AllocateMemory(memory, byteCount, Page | Chunk | Large, Scattered: false));
        yield return new(Associate()!);
        yield return new(Activate()!);
        foreach (Step step in JoinAgain()) yield return step;
        yield return new(new Vcmm.Spec.Back(reservation, memory));
    }

    public Step Next()
    {
        if (_next.TryDequeue(out Operation? next)) return new(next, MishapFor(next));
        while (true)
        {
            if (_then is { } then)
            {
                _then = null;
                if (then(this) is { } following) return new(following, MishapFor(following));
            }

            uint roll = _pcg.Next(_weights);
            int kind = 0;
            while (roll >= _kinds[kind].Weight) roll -= _kinds[kind++].Weight;
            if (_kinds[kind].Write(this) is not { } operation) continue;
            return new(operation, MishapFor(operation));
        }
    }

    private Mishap? MishapFor(Operation operation)
    {
        bool backs = operation is Vcmm.Spec.Back or Vcmm.Spec.BackPart or Vcmm.Spec.Map or Vcmm.Spec.Bind or Vcmm.Spec.UnbackPart;
        bool unbacks = operation is Vcmm.Spec.Unback or Vcmm.Spec.Unmap or Vcmm.Spec.Unbind or Vcmm.Spec.SetAttributes or Vcmm.Spec.Flush or Vcmm.Spec.PollFlush;
        bool canLackMemory = backs || operation is AllocateMemory or Vcmm.Spec.AllocateContiguous or Vcmm.Spec.Associate or Vcmm.Spec.Activate;
        bool canMeetHardware = _shape.HardwareFails && (backs || unbacks || operation is Vcmm.Spec.Activate or Vcmm.Spec.Deactivate);
        if ((!canLackMemory && !canMeetHardware) || _pcg.Next(1000) >= _shape.MishapsPerMille) return null;
        bool isMemory = canLackMemory && (!canMeetHardware || _pcg.Next(2) == 0);
        // Most calls write the tail once.
        return isMemory ? new(MishapKind.Memory, 1 + (int)_pcg.Next(3)) : new(MishapKind.Hardware, 1 + (int)(_pcg.Next(2) * _pcg.Next(3)));
    }

    private DeviceAccess Access()
    {
        ulong page = Address() & ~(Page - 1);
        ulong offset = Scenario.AccessOffsets[(int)_pcg.Next((uint)Scenario.AccessOffsets.Length)];
        (ObjectId device, uint? pasid) = Space();
        return new(device, page + offset, _pcg.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write) { Pasid = pasid };
    }

    private ulong Address()
    {
        if (_reservations.Count == 0) return One(Origins);
        Reserved? backed = _reservations.FindLast(reservation => reservation.Memory is not null);
        Reserved reservation = backed is not null && _pcg.Next(2) == 0 ? backed : Recent(_reservations);
        ulong length = Math.Max(reservation.ByteCount, Page);
        return reservation.First + One<ulong>([0, 0x808, length - 8, length, length / 2]);
    }

    private ulong ByteCount()
    {
        if (Rarely()) return One<ulong>([0, 0x800]);
        uint roll = _pcg.Next(10);
        if (roll < 6) return Page * (1 + _pcg.Next(4));
        if (roll < 8 || !_shape.LargeChunks) return Chunk;
        return roll == 8 ? Large : Large + Page * _pcg.Next(3);
    }

    private Permissions Permissions()
    {
        if (_pcg.Next(20) == 0) return One<Vcmm.Spec.Permissions>([Vcmm.Spec.Permissions.None, Vcmm.Spec.Permissions.Read | Vcmm.Spec.Permissions.Execute]);
        return One<Vcmm.Spec.Permissions>([Vcmm.Spec.Permissions.ReadWrite, Vcmm.Spec.Permissions.ReadWrite, Vcmm.Spec.Permissions.Read, Vcmm.Spec.Permissions.Write]);
    }

    private ObjectId Device() => new(ObjectKind.Device, (int)_pcg.Next((uint)_devices.Count));

    private ObjectId Make(ObjectKind kind)
    {
        int number = _made.GetValueOrDefault(kind);
        _made[kind] = number + 1;
        return new(kind, number);
    }

    private bool Rarely() => _pcg.Next(32) == 0;

    private int Index(int count) => (int)_pcg.Next((uint)count);

    private T One<T>(IReadOnlyList<T> values) => values[Index(values.Count)];

    private T Recent<T>(List<T> values) => _pcg.Next(2) == 0 ? values[^1] : One(values);

    /// <summary>What is known of a reservation.</summary>
    private sealed record Reserved(ObjectId Id, ObjectId Vcm, ulong First, ulong ByteCount)
    {
        /// <summary>What backs it, or some of it.</summary>
        public ObjectId? Memory { get; init; }

        /// <summary>Where in the memory its first byte would be.</summary>
        public ulong MemoryOffset { get; init; }

        /// <summary>Whether it was made together with the memory.</summary>
        public bool IsBinding { get; init; }

        /// <summary>A part that is not backed.</summary>
        public (ulong Offset, ulong ByteCount)? Hole { get; init; }
    }
}
