using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

public sealed partial class CpuCore<TMemory, TSteps>
{
    /// <summary>What stops a walk at an entry.</summary>
    private enum WalkFault : byte
    {
        None,

        /// <summary>There is no memory where the entry should be.</summary>
        NoMemory,
        NotPresent,
        Reserved,
    }

    /// <summary>What an x86-64 core says to a walk.</summary>
    /// <remarks>
    /// <b>Source.</b> Intel SDM, volume 3A, "Linear-Address Translation with 4-Level Paging and 5-Level Paging"; "Using the
    /// Paging-Structure Caches to Translate Linear Addresses"; "Page-Fault Exceptions"; "Accessed and Dirty Flags".
    /// </remarks>
    private readonly ref struct Walker : IWalker<CpuPagingEntry>
    {
        private readonly CpuCore<TMemory, TSteps> _core;
        private readonly ref readonly Request _request;

        public Walker(CpuCore<TMemory, TSteps> core, in Request request)
        {
            _core = core;
            _request = ref request;
        }

        public static bool CanBeNested => false;

        // A core does not give up.
        public static int FlagAttempts => int.MaxValue;

        public ulong Address => _request.Address;

        public WalkStep Top => new(_core._options.Levels, new(_request.Root), Rights.All);

        public bool IsNested => CanBeNested;

        public bool KeepsFlags => true;

        public byte FlagsNotUpdated => (byte)WalkFault.NotPresent;

        public bool TryResume(out WalkStep step, out byte fault)
        {
            fault = 0;
            step = default;
            lock (_core._gate)
            {
                if (!_core.TryFindStructure(_request, out CacheLine known)) return false;
                step = new(known.Level - 1, new(known.Target), known.Rights);
                return true;
            }
        }

        public byte Locate(ref WalkStep step) => 0;

        public byte Unreachable(int level) => (byte)WalkFault.NoMemory;

        public byte Check(CpuPagingEntry entry, int level)
        {
            if (!entry.IsPresent) return (byte)WalkFault.NotPresent;
            return (byte)(entry.HasReserved(level, _core._options) ? WalkFault.Reserved : WalkFault.None);
        }

        public ulong MissingFlags(in WalkStep step, CpuPagingEntry entry)
        {
            bool isLeaf = entry.IsLeaf(step.Level);
            if (isLeaf && !_core.IsGranted(_request, step.Rights & entry.Rights)) return 0;
            return CpuPagingEntry.FlagsFor(dirties: isLeaf && _request.Access == CpuAccess.Write) & ~entry.Bits;
        }

        public byte FindForFlags(in WalkStep step, ref PhysAddr at) => 0;

        public void CountFlags(bool areSet)
        {
            lock (_core._gate)
            {
                if (areSet) _core._counts.FlagUpdates++;
                else _core._counts.FlagUpdatesLost++;
            }
        }

        public void Keep(int level, PhysAddr table, Rights rights) =>
            _core.Keep(_request, SimStep.WalkCacheFill, _core._structures[level], LineFor(_request, CpuTags.Of(_request.Pcid), level, table, rights));

        public void Remember(in WalkStep step, byte fault)
        {
        }
    }
}
