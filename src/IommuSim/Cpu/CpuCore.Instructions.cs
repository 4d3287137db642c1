using IommuSim.Machinery;
using Platform;

namespace IommuSim.Cpu;

// The instructions that change or invalidate translations: between accesses, on the core's own thread.
public sealed partial class CpuCore<TMemory, TSteps>
{
    /// <summary>MOV to CR3.</summary>
    /// <param name="root">The top table: bits 11:0 clear, and below 2^MAXPHYADDR.</param>
    /// <param name="pcid">The tag of what is cached from now on; 0 where there are none.</param>
    /// <param name="keep">Bit 63: whether what is cached under the tag stays. It counts only where there are tags.</param>
    /// <remarks>
    /// <b>Source.</b> Intel SDM, volume 3A, "Operations that Invalidate TLBs and Paging-Structure Caches", MOV to CR3: with CR4.PCIDE 0 all
    /// under PCID 0 but global translations is invalidated, with it and bit 63 clear all under the new PCID but global ones.
    /// </remarks>
    /// <exception cref="ArgumentException">The root or the tag cannot be loaded: on hardware, a general-protection fault.</exception>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public void LoadCr3(PhysAddr root, Pcid pcid = default, bool keep = false)
    {
        if (!_options.IsTable(root)) throw new ArgumentException($"{root} cannot be loaded into CR3", nameof(root));
        Require(pcid);
        _steps.At(SimStep.RootLoad, root.Value);
        lock (_gate)
        {
            RefuseIfExecuting();
            // The core has left the address space that it entered.
            _current = null;
            Load(root, pcid.Value, keep);
        }
    }

    /// <summary>INVLPG: the page, under the current PCID and global, and under that PCID all that the paging-structure caches hold.</summary>
    /// <param name="address">A linear address; one that is not canonical invalidates nothing.</param>
    /// <remarks><b>Source.</b> The same, INVLPG; volume 2A, "INVLPG".</remarks>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public void Invlpg(Iova address)
    {
        if (!IsCanonical(address.Value)) return;
        lock (_gate)
        {
            RefuseIfExecuting();
            InvalidatePages(IovaRange.FromLength(new(address.Value & ~(PageBytes - 1)), PageBytes));
        }
    }

    /// <summary>INVPCID of type 0: the page under a PCID, global translations apart, and what leads to it.</summary>
    /// <param name="pcid">The PCID; 0 where there are none.</param>
    /// <param name="address">A canonical linear address.</param>
    /// <remarks><b>Source.</b> The same, INVPCID; volume 2A, "INVPCID".</remarks>
    /// <exception cref="ArgumentException">On hardware, a general-protection fault.</exception>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public void InvpcidAddress(Pcid pcid, Iova address)
    {
        Require(pcid);
        if (!IsCanonical(address.Value)) throw new ArgumentException($"{address} is not canonical", nameof(address));
        lock (_gate)
        {
            RefuseIfExecuting();
            InvalidatePages(pcid.Value, IovaRange.FromLength(new(address.Value & ~(PageBytes - 1)), PageBytes));
        }
    }

    /// <summary>INVPCID of type 1: all under a PCID, global translations apart.</summary>
    /// <param name="pcid">The PCID; 0 where there are none.</param>
    /// <remarks><b>Source.</b> As <see cref="InvpcidAddress"/>.</remarks>
    /// <exception cref="ArgumentException">On hardware, a general-protection fault.</exception>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public void InvpcidContext(Pcid pcid)
    {
        Require(pcid);
        lock (_gate)
        {
            RefuseIfExecuting();
            InvalidateContext(pcid.Value);
        }
    }

    /// <summary>INVPCID of type 2, or of type 3: all under every PCID.</summary>
    /// <param name="globals">Type 2: global translations, too.</param>
    /// <remarks><b>Source.</b> As <see cref="InvpcidAddress"/>.</remarks>
    /// <exception cref="InvalidOperationException">The core is executing on another thread.</exception>
    public void InvpcidAll(bool globals)
    {
        lock (_gate)
        {
            RefuseIfExecuting();
            _counts.ContextInvalidations++;
            Forget(null, globals);
        }
    }

    private void Load(PhysAddr root, ushort pcid, bool keep)
    {
        _hasTable = true;
        _root = root.Value;
        _pcid = pcid;
        _counts.Switches++;
        if (!keep || !_options.ProcessContextIds) Forget(pcid, globals: false);
    }

    /// <summary>Whole pages under the current tag, one INVLPG each; under the gate.</summary>
    private void InvalidatePages(IovaRange range)
    {
        _counts.PageInvalidations += PageCount(range);
        _tlb.Invalidate(LineFilter.Of(CpuTags.Of(_pcid)).In(range));
        ForgetGlobals(range);
        ForgetStructures(_pcid);
    }

    /// <summary>Whole pages under a tag, one INVPCID each; under the gate.</summary>
    private void InvalidatePages(ushort pcid, IovaRange range)
    {
        _counts.PageInvalidations += PageCount(range);
        Forget(pcid, range, globals: false);
    }

    private void InvalidateContext(ushort pcid)
    {
        _counts.ContextInvalidations++;
        Forget(pcid, globals: false);
    }

    private static long PageCount(IovaRange range) => (long)(range.Last.Value / PageBytes - range.First.Value / PageBytes + 1);

    private void Require(Pcid pcid)
    {
        if (pcid.Value > (_options.ProcessContextIds ? Pcid.Last : 0)) throw new ArgumentException($"{pcid} is no tag of this core", nameof(pcid));
    }

    private void RefuseIfExecuting()
    {
        if (_isExecuting) throw new InvalidOperationException($"core {Number} executes on another thread");
    }
}
