using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

/// <summary>
/// Writes steps one after the other, each on objects that earlier ones made. It keeps a rough idea of what the steps have come
/// to, so that most can be done; some are wrong on purpose.
/// </summary>
internal sealed class OperationWriter
{
    private const ulong Page = World.PageBytes, Chunk = 64 << 10, Large = 2 << 20;

    // How likely each operation is, in parts of their sum.
    private static readonly (uint Weight, Func<OperationWriter, Operation?> Write)[] Kinds =
    [
        (3, static w => w.CreateVcm()), (1, static w => w.FreeVcm()), (8, static w => w.Reserve()), (10, static w => w.ReserveAt()),
        (6, static w => w.Unreserve()), (12, static w => w.Allocate()), (6, static w => w.FreeMemory()), (24, static w => w.Back()),
        (14, static w => w.Unback()), (8, static w => w.Associate()), (2, static w => w.Deassociate()), (8, static w => w.Activate()),
        (5, static w => w.Deactivate()), (4, static w => w.Translate()), (3, static w => w.Find()), (2, static w => w.List()),
        (18, static w => w.Access()),
    ];

    private static readonly uint Weights = (uint)Kinds.Sum(kind => kind.Weight);

    // The end of a 2 MiB region, of a 1 GiB one, and the edges of the interrupt range are where mistakes live.
    private static readonly ulong[] Origins = [0, 0, Large, 1UL << 30, 0xFEDF_0000, 0xFEE0_0000, (1UL << 38) - Large, 1UL << 47];

    private readonly PCG _pcg;
    private readonly ScenarioShape _shape;
    private readonly int _devices;
    private readonly List<(ObjectId Id, AddressRange Range)> _vcms = [];
    private readonly List<Reserved> _reservations = [];
    private readonly List<(ObjectId Id, ulong ByteCount)> _memories = [];
    private readonly List<(ObjectId Id, bool Active)> _associations = [];
    private readonly Dictionary<ObjectKind, int> _made = [];

    public OperationWriter(PCG pcg, Topology topology, ScenarioShape shape)
    {
        _pcg = pcg;
        _shape = shape;
        _devices = topology.Devices;
    }

    /// <summary>What most scenarios begin with: a region that a device is active in, and a reservation that is backed.</summary>
    public IEnumerable<Step> Begin()
    {
        if (_pcg.Next(6) == 0) yield break;
        yield return new(CreateVcm());
        if (_vcms.Count == 0) yield break;
        bool isBackedFirst = _pcg.Next(2) == 0;
        for (int half = 0; half < 2; half++)
        {
            if ((half == 0) == isBackedFirst)
            {
                yield return new(ReserveAt()!);
                yield return new(Allocate());
                yield return new(Back()!);
            }
            else
            {
                yield return new(Associate()!);
                yield return new(Activate()!);
            }
        }
    }

    public Step Next()
    {
        while (true)
        {
            uint roll = _pcg.Next(Weights);
            int kind = 0;
            while (roll >= Kinds[kind].Weight) roll -= Kinds[kind++].Weight;
            if (Kinds[kind].Write(this) is not { } operation) continue;
            return new(operation, MishapFor(operation));
        }
    }

    private Mishap? MishapFor(Operation operation)
    {
        bool canLackMemory = operation is AllocateMemory or Vcmm.Spec.Back or Vcmm.Spec.Associate or Vcmm.Spec.Activate;
        bool canMeetHardware = _shape.HardwareFails && operation is Vcmm.Spec.Back or Vcmm.Spec.Unback or Vcmm.Spec.Activate or Vcmm.Spec.Deactivate;
        if ((!canLackMemory && !canMeetHardware) || _pcg.Next(1000) >= _shape.MishapsPerMille) return null;
        bool isMemory = canLackMemory && (!canMeetHardware || _pcg.Next(2) == 0);
        return new(isMemory ? MishapKind.Memory : MishapKind.Hardware, 1 + (int)_pcg.Next(3));
    }

    private CreateVcm CreateVcm()
    {
        ulong first = One(Origins);
        ulong byteCount = One<ulong>([16 * Page, 4 * Large, 4 * Large, 8 * Large, 1UL << 30]);
        if (Rarely()) first += 0x800;
        var range = new AddressRange(first, first + byteCount - 1);
        ObjectId id = Make(ObjectKind.Vcm);
        if (first % Page == 0) _vcms.Add((id, range));
        return new(id, range);
    }

    private FreeVcm? FreeVcm() => _vcms.Count == 0 ? null : new(One(_vcms).Id);

    private Reserve? Reserve()
    {
        if (_vcms.Count == 0) return null;
        (ObjectId vcm, AddressRange range) = Recent(_vcms);
        ulong byteCount = ByteCount();
        ulong alignment = byteCount >= Large && _pcg.Next(4) != 0 ? Large : One<ulong>([Page, Page, Page, Chunk, 1UL << 30]);
        if (Rarely()) alignment = One<ulong>([0, 3 * Page, 2UL << 30]);
        ObjectId id = Make(ObjectKind.Reservation);
        // Where it will be is the library's choice; first fit is the likeliest.
        _reservations.Add(new(id, range.First, byteCount));
        return new(id, vcm, byteCount, Permissions(), alignment);
    }

    private ReserveAt? ReserveAt()
    {
        if (_vcms.Count == 0) return null;
        (ObjectId vcm, AddressRange range) = Recent(_vcms);
        ulong byteCount = ByteCount();
        ulong offset = byteCount >= Large && _pcg.Next(4) != 0 ? Large * _pcg.Next(3) : Page * _pcg.Next(20);
        ulong first = range.First + offset + (Rarely() ? 0x10UL : 0);
        ObjectId id = Make(ObjectKind.Reservation);
        _reservations.Add(new(id, first, byteCount));
        return new(id, vcm, first, byteCount, Permissions());
    }

    private Unreserve? Unreserve()
    {
        if (_reservations.Count == 0) return null;
        int index = Index(_reservations.Count);
        Reserved reservation = _reservations[index];
        if (reservation.Memory is null && _pcg.Next(4) != 0) _reservations.RemoveAt(index);
        return new(reservation.Id);
    }

    private AllocateMemory Allocate()
    {
        // As long as a reservation that waits for memory, mostly.
        Reserved? waiting = _reservations.FindLast(reservation => reservation.Memory is null);
        ulong byteCount = waiting is not null && _pcg.Next(5) != 0 ? waiting.ByteCount : ByteCount();
        ulong sizes = One<ulong>(_shape.LargeChunks ? [Page, Page | Chunk, Page | Chunk | Large, Page | Large] : [Page, Page | Chunk]);
        if (byteCount >= Large && _shape.LargeChunks && _pcg.Next(3) != 0) sizes = Page | Chunk | Large;
        if (Rarely()) sizes = One<ulong>([0, Chunk, Large]);
        ObjectId id = Make(ObjectKind.Memory);
        _memories.Add((id, byteCount));
        return new(id, byteCount, sizes, _pcg.Next(3) == 0);
    }

    private FreeMemory? FreeMemory()
    {
        if (_memories.Count == 0) return null;
        int index = Index(_memories.Count);
        ObjectId memory = _memories[index].Id;
        if (!_reservations.Exists(reservation => reservation.Memory == memory) && _pcg.Next(4) != 0) _memories.RemoveAt(index);
        return new(memory);
    }

    private Back? Back()
    {
        if (_reservations.Count == 0 || _memories.Count == 0) return null;
        int index = _reservations.FindLastIndex(candidate => candidate.Memory is null);
        if (index < 0 || _pcg.Next(6) == 0) index = Index(_reservations.Count);
        Reserved reservation = _reservations[index];
        List<(ObjectId Id, ulong ByteCount)> fitting = _memories.FindAll(memory => memory.ByteCount == reservation.ByteCount);
        ObjectId memory = fitting.Count != 0 && !Rarely() ? One(fitting).Id : One(_memories).Id;
        _reservations[index] = reservation with { Memory = memory };
        return new(reservation.Id, memory);
    }

    private Unback? Unback()
    {
        if (_reservations.Count == 0) return null;
        int index = _reservations.FindLastIndex(reservation => reservation.Memory is not null);
        if (index < 0 || _pcg.Next(3) == 0) index = Index(_reservations.Count);
        _reservations[index] = _reservations[index] with { Memory = null };
        return new(_reservations[index].Id);
    }

    private Associate? Associate()
    {
        if (_vcms.Count == 0) return null;
        ObjectId id = Make(ObjectKind.Association);
        _associations.Add((id, false));
        return new(id, Recent(_vcms).Id, Device());
    }

    private Deassociate? Deassociate() => _associations.Count == 0 ? null : new(One(_associations).Id);

    private Activate? Activate()
    {
        if (_associations.Count == 0) return null;
        int index = _associations.FindLastIndex(association => !association.Active);
        if (index < 0 || _pcg.Next(5) == 0) index = Index(_associations.Count);
        _associations[index] = (_associations[index].Id, true);
        return new(_associations[index].Id);
    }

    private Deactivate? Deactivate()
    {
        if (_associations.Count == 0) return null;
        int index = _associations.FindLastIndex(association => association.Active);
        if (index < 0 || _pcg.Next(5) == 0) index = Index(_associations.Count);
        _associations[index] = (_associations[index].Id, false);
        return new(_associations[index].Id);
    }

    private Translate? Translate() => _vcms.Count == 0 ? null : new(Recent(_vcms).Id, Address());

    private FindReservation? Find() => _vcms.Count == 0 ? null : new(Recent(_vcms).Id, Address());

    private ListReservations? List() => _vcms.Count == 0 ? null : new(One(_vcms).Id);

    private DeviceAccess Access()
    {
        ulong page = Address() & ~(Page - 1);
        ulong offset = Scenario.AccessOffsets[(int)_pcg.Next((uint)Scenario.AccessOffsets.Length)];
        return new(Device(), page + offset, _pcg.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write);
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
        if (Rarely()) return Vcmm.Spec.Permissions.None;
        return One<Vcmm.Spec.Permissions>([Vcmm.Spec.Permissions.ReadWrite, Vcmm.Spec.Permissions.ReadWrite, Vcmm.Spec.Permissions.Read, Vcmm.Spec.Permissions.Write]);
    }

    private ObjectId Device() => new(ObjectKind.Device, (int)_pcg.Next((uint)_devices));

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

    private sealed record Reserved(ObjectId Id, ulong First, ulong ByteCount)
    {
        public ObjectId? Memory { get; init; }
    }
}
