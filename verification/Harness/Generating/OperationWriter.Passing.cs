using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Devices that are let through untranslated. These steps come between the others, from a stream of their own and with names of their own: the other
// steps are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong PassStream = 0x9A55_0DE7, FirstFrame = 0x100_0000;
    private const int FirstNamePassing = 1600;
    private const uint Frames = 96;

    private readonly PCG _pass;
    private readonly Queue<Step> _passNext = [];
    private int _passCount;

    /// <summary>A step between two others; null: none.</summary>
    public Step? Passing()
    {
        if (_next.Count != 0 || _besideNext.Count != 0 || _acrossNext.Count != 0 || _wildNext.Count != 0 || _changeNext.Count != 0) return null;
        // Others come between, so that much happens while a device is let through.
        if (_passNext.Count != 0) return _pass.Next(3) != 0 ? _passNext.Dequeue() : null;
        return _pass.Next(48) == 0 ? LetThrough() : null;
    }

    /// <summary>A device is let through, goes where data and tables are, and then is there no more. By what is wrong it is tried, too.</summary>
    private Step LetThrough()
    {
        var device = new ObjectId(ObjectKind.Device, (int)_pass.Next((uint)_devices.Count));
        uint? pasid = PasidPassing();
        var pass = new PassThrough(device) { Pasid = pasid };
        var end = new EndPassThrough(device) { Pasid = pasid };
        if (_pass.Next(8) == 0) _passNext.Enqueue(new(pass));
        for (uint count = 1 + _pass.Next(3); count != 0; count--) _passNext.Enqueue(new(AccessAnywhere(device, pasid)));
        if (_pass.Next(4) == 0) _passNext.Enqueue(new(AccessAnywhere(new(ObjectKind.Device, (int)_pass.Next((uint)_devices.Count)), pasid)));
        if (_vcms.Count != 0 && _pass.Next(3) == 0) ActivateBeside(device, pasid, pass, end);
        else if (_pass.Next(4) != 0) End(end);
        if (_pass.Next(2) == 0) _passNext.Enqueue(new(AccessAnywhere(device, pasid)));
        if (_pass.Next(8) == 0) _passNext.Enqueue(new(end));
        return new(pass, MishapOf(MishapKind.Memory));
    }

    /// <summary>The same address space is to be a region, while it is let through and after that.</summary>
    private void ActivateBeside(ObjectId device, uint? pasid, PassThrough pass, EndPassThrough end)
    {
        ObjectId association = new(ObjectKind.Association, FirstNamePassing + _passCount++), vcm = _vcms[(int)_pass.Next((uint)_vcms.Count)].Id;
        _passNext.Enqueue(new(new Associate(association, vcm, device) { Pasid = pasid }));
        _passNext.Enqueue(new(new Activate(association)));
        End(end);
        _passNext.Enqueue(new(new Activate(association)));
        if (_pass.Next(2) == 0) _passNext.Enqueue(new(pass));
        _passNext.Enqueue(new(new Deactivate(association)));
        _passNext.Enqueue(new(new Deassociate(association)));
    }

    /// <summary>What the hardware does not do is tried again.</summary>
    private void End(EndPassThrough end)
    {
        if (MishapOf(MishapKind.Hardware) is { } mishap) _passNext.Enqueue(new(end, mishap));
        _passNext.Enqueue(new(end));
    }

    private Mishap? MishapOf(MishapKind kind) => (kind == MishapKind.Hardware && !_shape.HardwareFails) || _pass.Next(16) != 0 ? null : new(kind, 1);

    private DeviceAccess AccessAnywhere(ObjectId device, uint? pasid) =>
        new(device, FirstFrame + Page * _pass.Next(Frames) + Scenarios.Scenario.AccessOffsets[(int)_pass.Next(3)], _pass.Next(2) == 0 ? Vcmm.Spec.Permissions.Read : Vcmm.Spec.Permissions.Write)
        {
            Pasid = pasid,
        };

    private uint? PasidPassing() => !_isScalable || (!_hasPasids && _pass.Next(8) != 0) || _pass.Next(2) == 0 ? null : _pass.Next(12) == 0 ? 0 : 1 + _pass.Next(3);
}
